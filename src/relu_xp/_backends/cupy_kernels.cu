// The rectifiers for a word of elements, and the two ways through an array: the CUDA text of the CuPy backend.
//
// Compiled for one function and type at a time, with -DFUNCTION=relu_vjp -DTYPE=float32. Elements are their bits, and
// short ones share a word of 32, a lane each: told apart one by one, each would take as many instructions as a long one,
// and there are more of them to a byte. The product is one PTX instruction without .ftz: CuPy asks the compiler for
// -ftz=true, which nothing overrides and by which comparisons and products of float would take subnormals for zeros. It
// includes no header, so that NVRTC alone compiles it, and a C++ compiler too, which is how it is held against the
// definition where there is no GPU.

#ifndef __CUDA_ARCH__
template <class To, class From> static To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits for bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
#endif

template <class B, class W> struct lanes {
    typedef B Bits;
    typedef W Word;
    static const Word Each = Word(~Word(0)) / Word(Bits(~Bits(0)));  // 1 in each lane
    static const Word Sign = Each << (8 * sizeof(Bits) - 1);

    // All ones in each lane that begins with a one.
    static __device__ Word spread(Word x) {
        return (x >> (8 * sizeof(Bits) - 1) & Each) * Bits(~Bits(0));
    }
    static __device__ Word select(Word lanes, Word a, Word b) { return (lanes & a) | (~lanes & b); }
};

// What all floating types share: `Self` brings its product.
template <class Self, class Bits, class W, Bits One, Bits Infinity> struct floating : lanes<Bits, W> {
    typedef lanes<Bits, W> Lanes;
    typedef W Word;
    using Lanes::Each;
    using Lanes::Sign;
    using Lanes::select;
    using Lanes::spread;

    // Lanes that begin with a one where the magnitude is above the limit, which lets the sum carry that far.
    static __device__ Word above(Bits limit, Word x) { return (x & ~Sign) + (~Sign - Each * limit); }
    static __device__ Word nonzero(Word x) { return above(0, x); }
    static __device__ Word nan(Word x) { return above(Infinity, x); }
    static __device__ Word positive(Word x) { return nonzero(x) & ~(x | nan(x)); }

    static __device__ Word relu(Word x, Word, Word, Word) { return x & ~spread(x & ~nan(x)); }
    static __device__ Word leaky_relu(Word x, Word, Word s, Word) {
        return select(spread(x & nonzero(x)), Self::multiply(s, x), x);
    }
    static __device__ Word relu_grad(Word x, Word, Word, Word z) { return leaky_relu_grad(x, 0, 0, z); }
    static __device__ Word leaky_relu_grad(Word x, Word, Word s, Word z) {
        return select(spread(positive(x)), Each * One, select(spread(nonzero(x)), s, z));
    }
    // A cotangent times 1 is itself; times 0 it need not be 0, so that zero is selected.
    static __device__ Word relu_vjp(Word x, Word g, Word, Word z) {
        const Word at_zero = Self::multiply(z, g) & spread(nonzero(z)) & ~spread(nonzero(x));
        return select(spread(positive(x)), g, at_zero);
    }
    static __device__ Word leaky_relu_vjp(Word x, Word g, Word s, Word z) {
        const Word elsewhere = spread(nonzero(x));
        const Word product = Self::multiply(select(elsewhere, s, z), g) & (elsewhere | spread(nonzero(z)));
        return select(spread(positive(x)), g, product);
    }
};

struct float64 : floating<float64, unsigned long long, unsigned long long, 0x3ff0000000000000, 0x7ff0000000000000> {
    static __device__ Word multiply(Word a, Word b) {
#ifdef __CUDA_ARCH__
        Word product;
        asm("{.reg .f64 x, y; mov.b64 x, %1; mov.b64 y, %2; mul.rn.f64 x, x, y; mov.b64 %0, x;}"
            : "=l"(product) : "l"(a), "l"(b));
        return product;
#else
        return reinterpret<Word>(reinterpret<double>(a) * reinterpret<double>(b));
#endif
    }
};

struct float32 : floating<float32, unsigned int, unsigned int, 0x3f800000, 0x7f800000> {
    static __device__ Word multiply(Word a, Word b) {
#ifdef __CUDA_ARCH__
        Word product;
        asm("{.reg .f32 x, y; mov.b32 x, %1; mov.b32 y, %2; mul.rn.f32 x, x, y; mov.b32 %0, x;}"
            : "=r"(product) : "r"(a), "r"(b));
        return product;
#else
        return reinterpret<Word>(reinterpret<float>(a) * reinterpret<float>(b));
#endif
    }
};

struct float16 : floating<float16, unsigned short, unsigned int, 0x3c00, 0x7c00> {
    static __device__ Word multiply(Word a, Word b) {
#ifdef __CUDA_ARCH__
        Word product;
        asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
        return product;
#else
        return one(a, b) | one(a >> 16, b >> 16) << 16;
#endif
    }
#ifndef __CUDA_ARCH__
    static Word one(Bits a, Bits b) {
        return reinterpret<Bits>(_Float16(reinterpret<_Float16>(a) * reinterpret<_Float16>(b)));
    }
#endif
};

struct bfloat16 : floating<bfloat16, unsigned short, unsigned int, 0x3f80, 0x7f80> {
    static __device__ Word multiply(Word a, Word b) {
#if __CUDA_ARCH__ >= 800
        Word product;  // -0, once added, changes nothing; only from sm_90 on is there a product without a sum
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(Sign));
        return product;
#else
        return one(a << 16, b << 16) | one(a & 0xffff0000, b & 0xffff0000) << 16;
#endif
    }
    // The product in float32 is exact, or loses bits only where the rounding to bfloat16 does not look.
    static __device__ Word one(Word a, Word b) {
        const Word product = float32::multiply(a, b);
        if ((product & ~float32::Sign) > 0x7f800000) return 0x7fff;
        return (product + 0x7fff + (product >> 16 & 1)) >> 16;  // half to even; infinity stays
    }
};

template <class Bits, class Word> struct signed_integer : lanes<Bits, Word> {
    static __device__ Word relu(Word x, Word, Word, Word) { return x & ~lanes<Bits, Word>::spread(x); }
};
template <class Bits, class Word> struct unsigned_integer : lanes<Bits, Word> {
    static __device__ Word relu(Word x, Word, Word, Word) { return x; }
};
typedef signed_integer<unsigned char, unsigned int> int8;
typedef signed_integer<unsigned short, unsigned int> int16;
typedef signed_integer<unsigned int, unsigned int> int32;
typedef signed_integer<unsigned long long, unsigned long long> int64;
typedef unsigned_integer<unsigned char, unsigned int> uint8;
typedef unsigned_integer<unsigned short, unsigned int> uint16;
typedef unsigned_integer<unsigned int, unsigned int> uint32;
typedef unsigned_integer<unsigned long long, unsigned long long> uint64;

typedef TYPE::Bits Bits;
typedef TYPE::Word Word;
#define JOINED(a, b, c) a##_##b##_##c
#define NAMED(function, type, way) JOINED(function, type, way)  // what profilers show

// 16 bytes, that is one load or store, and as words.
#define WORDS int(16 / sizeof(Word))
#define ELEMENTS int(16 / sizeof(Bits))
union Pack {
    struct alignas(16) { unsigned int x, y, z, w; } bytes;
    Word words[WORDS];
};
#define IN_FLIGHT 4  // packs that a thread loads before it stores one: enough to hide the memory's latency

static __device__ Pack rectified(Pack x, const Pack &g, Word s, Word z) {
#pragma unroll
    for (int i = 0; i < WORDS; i++) x.words[i] = TYPE::FUNCTION(x.words[i], g.words[i], s, z);
    return x;
}

// Arrays in one contiguous order, and equally far from a 16-byte boundary, to which `head` elements lead. A function of
// x alone never looks at g. Each thread reads an element before it writes that one, so out may be x or g.
extern "C" __global__ void NAMED(FUNCTION, TYPE, contiguous)(
    const Bits *x, const Bits *g, Bits *out, long long size, long long head, Bits s, Bits z) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long packs = (size - head) / ELEMENTS, tail = head + packs * ELEMENTS;
    const Word ss = TYPE::Each * s, zs = TYPE::Each * z;
    if (thread < head) out[thread] = TYPE::FUNCTION(x[thread], g[thread], s, z);
    if (thread < size - tail) out[tail + thread] = TYPE::FUNCTION(x[tail + thread], g[tail + thread], s, z);

    const Pack *const xs = (const Pack *)(x + head), *const gs = (const Pack *)(g + head);
    Pack *const outs = (Pack *)(out + head);
    for (long long first = thread; first < packs; first += threads * IN_FLIGHT) {
        Pack a[IN_FLIGHT], b[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++) {
            const long long at = first + i * threads;
            if (at < packs) a[i].bytes = xs[at].bytes, b[i].bytes = gs[at].bytes;
        }
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; i++) {
            const long long at = first + i * threads;
            if (at < packs) outs[at].bytes = rectified(a[i], b[i], ss, zs).bytes;
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
