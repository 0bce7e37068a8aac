"""The maths in C++, for NumPy's loops and for CuPy's kernels; the extension is there where a compiler built it."""
