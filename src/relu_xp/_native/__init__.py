"""The rectifiers in C++: `rectifiers.hpp`, the maths; `_ufuncs`, built from it for NumPy where there is a compiler."""
