// The interface of `loops.cpp`, which is compiled once for each instruction set.

#pragma once

#include <cstddef>

// An inner loop in NumPy's form: addresses, dimensions, steps in bytes, and data.
typedef void (*Run)(char **, const std::ptrdiff_t *, const std::ptrdiff_t *, void *);

// Receives the two loops of a function for a type: `run` for a ufunc, `rows` for a generalized
// ufunc. The type is NumPy's character; bfloat16, to which NumPy gives none, is 'E'.
typedef void (*Add)(const char *function, int operands, char type, Run run, Run rows);

constexpr int MostArrays = 2, MostScalars = 3;
constexpr int MostOperands = MostArrays + MostScalars + 1;  // with the result

void relu_xp_baseline(Add), relu_xp_avx2(Add);
void relu_xp_avx512(Add), relu_xp_avx512bf16(Add), relu_xp_avx512fp16(Add);

// Loops call this with the floating-point exceptions that they raised, as <cfenv> numbers them.
// These add up, for each thread, until its call reports or drops them.
void relu_xp_note(int exceptions);
