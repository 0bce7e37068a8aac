// What `ufuncs.cpp` knows of `loops.cpp`, and of each of its builds for one kind of processor.

#include <cstddef>

typedef void (*Run)(char **, const std::ptrdiff_t *, const std::ptrdiff_t *, void *);

// Takes a function's loops for a type, NumPy's character of it, or E for bfloat16, to which NumPy gives no fixed one: that of
// a ufunc, and that of a generalized ufunc by rows.
typedef void (*Add)(const char *function, int operands, char type, Run run, Run rows);

void relu_xp_baseline(Add), relu_xp_avx2(Add);
void relu_xp_avx512(Add), relu_xp_avx512bf16(Add), relu_xp_avx512fp16(Add);

// Keeps floating-point exceptions, as <cfenv> numbers them, until the caller in Python takes them.
void relu_xp_note(int exceptions);
