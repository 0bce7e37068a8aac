// Runs the CUDA text as C++, one thread after the other: what `test_cupy_on_host.py` compiles where there is no GPU.

#define __device__
#define __global__
static struct { unsigned int x; } gridDim, blockDim, blockIdx, threadIdx;

#define CONTIGUOUS kernel
#include "rectifiers.hpp"
#include "rectifiers.cu"

extern "C" void contiguous(unsigned int blocks, unsigned int threads, const Bits *a, const Bits *b, const Bits *c,
    Bits *out, long long size, long long head, unsigned long long p, unsigned long long q, unsigned long long r) {
    gridDim.x = blocks, blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) kernel(a, b, c, out, size, head, p, q, r);
}

// In the place of CuPy's elementwise kernel.
extern "C" void elements(const Bits *const *arrays, Bits *out, long long size, const unsigned long long *scalars) {
    for (long long i = 0; i < size; i++) {
        Word w[OPERANDS];
        for (int k = 0; k < OPERANDS; k++) w[k] = k < ARRAYS ? arrays[k][i] : Bits(scalars[k - ARRAYS]);
        out[i] = Bits(rectified(w));
    }
}
