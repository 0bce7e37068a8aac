"""The maths in C++, `rectifiers.hpp`, and what is built from it for NumPy: `_ufuncs`.

Without a C++ compiler `fallback` stands in for `_ufuncs`, and `missing` says why.
"""
