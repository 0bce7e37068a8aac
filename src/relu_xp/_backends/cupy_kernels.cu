// The rectifiers for one element, and the two ways through an array: the CUDA text of the CuPy backend.
//
// Compiled for one function and type at a time, with -DFUNCTION=relu_vjp -DTYPE=float32. Elements are their bits, and
// the product is one PTX instruction without .ftz: CuPy asks the compiler for -ftz=true, which nothing overrides and by
// which comparisons and products of float would take subnormals for zeros. It includes no header, so that NVRTC alone
// compiles it, and a C++ compiler too, which is how it is held against the definition where there is no GPU.

#ifndef __CUDA_ARCH__
template <class To, class From> static To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits for bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
#endif

// What all floating types share: `Self` brings its product. Zero's bits are 0 but for the sign.
template <class Self, class B, B One, B Infinity> struct floating {
    typedef B Bits;
    enum Class { NAN_OF_ANY_SIGN = -2, NEGATIVE, ZERO, POSITIVE };

    static __device__ Class sort(Bits x) {
        const Bits magnitude = x & Bits(Bits(~Bits(0)) >> 1);
        if (magnitude > Infinity) return NAN_OF_ANY_SIGN;
        return magnitude == 0 ? ZERO : x > magnitude ? NEGATIVE : POSITIVE;
    }
    // The cotangent's share at zero: selected, not multiplied, for 0 and 1.
    static __device__ Bits share(Bits g, Bits z) {
        return z == One ? g : sort(z) == ZERO ? Bits(0) : Self::multiply(z, g);
    }

    static __device__ Bits relu(Bits x, Bits, Bits, Bits) {
        const Class c = sort(x);
        return c == NEGATIVE || c == ZERO ? Bits(0) : x;
    }
    static __device__ Bits leaky_relu(Bits x, Bits, Bits s, Bits) {
        return sort(x) == NEGATIVE ? Self::multiply(s, x) : x;
    }
    static __device__ Bits relu_grad(Bits x, Bits, Bits, Bits z) {
        return leaky_relu_grad(x, 0, 0, z);
    }
    static __device__ Bits leaky_relu_grad(Bits x, Bits, Bits s, Bits z) {
        const Class c = sort(x);
        return c == POSITIVE ? One : c == ZERO ? z : s;
    }
    static __device__ Bits relu_vjp(Bits x, Bits g, Bits, Bits z) {
        const Class c = sort(x);
        return c == POSITIVE ? g : c == ZERO ? share(g, z) : Bits(0);
    }
    static __device__ Bits leaky_relu_vjp(Bits x, Bits g, Bits s, Bits z) {
        const Class c = sort(x);
        return c == POSITIVE ? g : c == ZERO ? share(g, z) : Self::multiply(s, g);
    }
};

struct float64 : floating<float64, unsigned long long, 0x3ff0000000000000, 0x7ff0000000000000> {
    static __device__ Bits multiply(Bits a, Bits b) {
#ifdef __CUDA_ARCH__
        Bits product;
        asm("{.reg .f64 x, y; mov.b64 x, %1; mov.b64 y, %2; mul.rn.f64 x, x, y; mov.b64 %0, x;}"
            : "=l"(product) : "l"(a), "l"(b));
        return product;
#else
        return reinterpret<Bits>(reinterpret<double>(a) * reinterpret<double>(b));
#endif
    }
};

struct float32 : floating<float32, unsigned int, 0x3f800000, 0x7f800000> {
    static __device__ Bits multiply(Bits a, Bits b) {
#ifdef __CUDA_ARCH__
        Bits product;
        asm("{.reg .f32 x, y; mov.b32 x, %1; mov.b32 y, %2; mul.rn.f32 x, x, y; mov.b32 %0, x;}"
            : "=r"(product) : "r"(a), "r"(b));
        return product;
#else
        return reinterpret<Bits>(reinterpret<float>(a) * reinterpret<float>(b));
#endif
    }
};

struct float16 : floating<float16, unsigned short, 0x3c00, 0x7c00> {
    static __device__ Bits multiply(Bits a, Bits b) {
#ifdef __CUDA_ARCH__
        Bits product;
        asm("mul.rn.f16 %0, %1, %2;" : "=h"(product) : "h"(a), "h"(b));
        return product;
#else
        return reinterpret<Bits>(_Float16(reinterpret<_Float16>(a) * reinterpret<_Float16>(b)));
#endif
    }
};

struct bfloat16 : floating<bfloat16, unsigned short, 0x3f80, 0x7f80> {
    // The product in float32 is exact, or loses bits only where the rounding to bfloat16 does not look.
    static __device__ Bits multiply(Bits a, Bits b) {
        const unsigned int product = float32::multiply((unsigned int)a << 16, (unsigned int)b << 16);
        if (float32::sort(product) == float32::NAN_OF_ANY_SIGN) return 0x7fff;
        return (product + 0x7fff + (product >> 16 & 1)) >> 16;  // half to even; infinity stays
    }
};

template <class I> struct integer {
    typedef I Bits;
    static __device__ I relu(I x, I, I, I) { return x > 0 ? x : I(0); }
};
typedef integer<signed char> int8;
typedef integer<short> int16;
typedef integer<int> int32;
typedef integer<long long> int64;
typedef integer<unsigned char> uint8;
typedef integer<unsigned short> uint16;
typedef integer<unsigned int> uint32;
typedef integer<unsigned long long> uint64;

typedef TYPE::Bits Bits;
#define JOINED(a, b, c) a##_##b##_##c
#define NAMED(function, type, way) JOINED(function, type, way)  // what profilers show

// 16 bytes, that is one load or store, and as elements.
union Pack {
    struct alignas(16) { unsigned int x, y, z, w; } words;
    Bits lanes[16 / sizeof(Bits)];
};
#define LANES int(sizeof(Pack) / sizeof(Bits))
#define IN_FLIGHT 4  // packs that a thread loads before it stores one: enough to hide the memory's latency

static __device__ Pack rectified(Pack x, const Pack &g, Bits s, Bits z) {
#pragma unroll
    for (int i = 0; i < LANES; i++) x.lanes[i] = TYPE::FUNCTION(x.lanes[i], g.lanes[i], s, z);
    return x;
}

// Arrays in one contiguous order, and equally far from a 16-byte boundary, to which `head` elements lead. A function of
// x alone never looks at g. Each thread reads an element before it writes that one, so out may be x or g.
extern "C" __global__ void NAMED(FUNCTION, TYPE, contiguous)(
    const Bits *x, const Bits *g, Bits *out, long long size, long long head, Bits s, Bits z) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long packs = (size - head) / LANES, tail = head + packs * LANES;
    if (thread < head) out[thread] = TYPE::FUNCTION(x[thread], g[thread], s, z);
    if (thread < size - tail) out[tail + thread] = TYPE::FUNCTION(x[tail + thread], g[tail + thread], s, z);

    const Pack *const xs = (const Pack *)(x + head), *const gs = (const Pack *)(g + head);
    Pack *const outs = (Pack *)(out + head);
    for (long long first = thread; first < packs; first += threads * IN_FLIGHT) {
        Pack a[IN_FLIGHT], b[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++) {
            const long long at = first + i * threads;
            if (at < packs) a[i].words = xs[at].words, b[i].words = gs[at].words;
        }
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++) {
            const long long at = first + i * threads;
            if (at < packs) outs[at].words = rectified(a[i], b[i], s, z).words;
        }
    }
}

// Any layout; strides in bytes, the last dimension first.
struct Layout {
    long long size, dimensions, shape[64], x[64], g[64], out[64];
};

template <class Index> static __device__ void walk(
    const char *x, const char *g, char *out, const Layout &at, Bits s, Bits z) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < at.size; i += threads) {
        Index rest = Index(i);
        long long of_x = 0, of_g = 0, of_out = 0;
        for (int d = 0; d < at.dimensions; d++) {
            const Index whole = rest / Index(at.shape[d]), part = rest - whole * Index(at.shape[d]);
            of_x += (long long)part * at.x[d], of_g += (long long)part * at.g[d], of_out += (long long)part * at.out[d];
            rest = whole;
        }
        *(Bits *)(out + of_out) = TYPE::FUNCTION(*(const Bits *)(x + of_x), *(const Bits *)(g + of_g), s, z);
    }
}

extern "C" __global__ void NAMED(FUNCTION, TYPE, strided)(
    const char *x, const char *g, char *out, const __grid_constant__ Layout at, Bits s, Bits z) {
    if (at.size >> 32) walk<unsigned long long>(x, g, out, at, s, z);
    else walk<unsigned int>(x, g, out, at, s, z);  // whose division is several times cheaper
}
