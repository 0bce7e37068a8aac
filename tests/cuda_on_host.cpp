// Runs the CUDA text as C++, one thread after the other: what `test_cupy_on_host.py` compiles where there is no GPU.

#define __device__
#define __global__
#define __grid_constant__
static struct { unsigned int x; } gridDim, blockDim, blockIdx, threadIdx;

#include "cupy_kernels.cu"

template <class... Arguments>
static void launch(void (*kernel)(Arguments...), unsigned int blocks, unsigned int threads, Arguments... arguments) {
    gridDim.x = blocks, blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) kernel(arguments...);
}

extern "C" void contiguous(unsigned int blocks, unsigned int threads, const Bits *x, const Bits *g, Bits *out,
    long long size, long long head, Bits s, Bits z) {
    launch(NAMED(FUNCTION, TYPE, contiguous), blocks, threads, x, g, out, size, head, s, z);
}

extern "C" void strided(unsigned int blocks, unsigned int threads, const char *x, const char *g, char *out,
    const Layout *at, Bits s, Bits z) {
    launch(NAMED(FUNCTION, TYPE, strided), blocks, threads, x, g, out, *at, s, z);
}

extern "C" void strided_with_64_bits(const char *x, const char *g, char *out, const Layout *at) {
    gridDim.x = blockDim.x = 1, blockIdx.x = threadIdx.x = 0;
    walk<unsigned long long>(x, g, out, *at, 0, 0);
}
