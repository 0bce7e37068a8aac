// The CUDA part of CuPy's kernels, compiled after `rectifiers.hpp`: the primitives, and a kernel
// for contiguous arrays.
//
// It is compiled for one function and type at a time. For example, FUNCTION is relu_vjp and TYPE
// float32; OPERANDS is the number of operands, and the first ARRAYS of them are arrays.
//
// Elements are handled as bits. Elements of 8 and 16 bits share a word of 32, a lane each: one by
// one, each would take as many instructions as a longer one, and a byte of memory holds more of
// them. Products are PTX instructions without .ftz on bits, since CuPy compiles with -ftz=true,
// which cannot be overridden: comparisons and products of `float` would take subnormals for zeros.
//
// No header is included, because NVRTC has none. A C++ compiler takes the text too, so it is tested
// without a GPU.

#ifndef __CUDA_ARCH__
template <class To, class From> static To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits for bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
#endif

template <class B, class W> struct word_of {
    typedef B Bits;
    typedef W Word;
    static const Word Each = Word(~Word(0)) / Word(Bits(~Bits(0)));  // 1 in each lane
    static const Word Sign = Each << (8 * sizeof(Bits) - 1);

    // All ones in each lane whose first bit is set.
    static __device__ Word spread(Word x) {
        return (x >> (8 * sizeof(Bits) - 1) & Each) * Bits(~Bits(0));
    }
    static __device__ Word select(Word mask, Word a, Word b) { return (mask & a) | (~mask & b); }
};

// The part that all floating types share; `Self` adds `multiply`.
template <class Self, class Bits, class W, Bits One, Bits Infinity> struct floating
    : word_of<Bits, W> {
    typedef word_of<Bits, W> Base;
    typedef W Word;
    using Base::Each;
    using Base::Sign;
    using Base::spread;

    // Sets the first bit of each lane whose magnitude is above the limit: the sum carries into it
    // then, and not otherwise.
    static __device__ Word above(Bits limit, Word x) {
        return (x & ~Sign) + (~Sign - Each * limit);
    }

    static __device__ Word one() { return Each * One; }
    static __device__ Word two() { return Sign >> 1; }
    static __device__ Word below(Word x, Word y) { return ~spread((x | Sign) - y); }
    static __device__ Word zero(Word x) { return ~spread(above(0, x)); }
    static __device__ Word positive(Word x) {
        return spread(above(0, x) & ~(x | above(Infinity, x)));
    }
    static __device__ Word negative(Word x) {
        return spread(above(0, x) & x & ~above(Infinity, x));
    }
    static __device__ Word signed_number(Word x) { return spread(x & ~above(Infinity, x)); }
    static __device__ Word product(Word, Word a, Word b) { return Self::multiply(a, b); }
};

struct float64 : floating<float64, unsigned long long, unsigned long long, 0x3ff0000000000000,
                          0x7ff0000000000000> {
    static __device__ Word multiply(Word a, Word b) {
#ifdef __CUDA_ARCH__
        Word product;
        asm("{.reg .f64 x, y; mov.b64 x, %1; mov.b64 y, %2; mul.rn.f64 x, x, y; mov.b64 %0, x;}"
            : "=l"(product)
            : "l"(a), "l"(b));
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
            : "=r"(product)
            : "r"(a), "r"(b));
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
        return of_lane(a, b) | of_lane(a >> 16, b >> 16) << 16;
#endif
    }
#ifndef __CUDA_ARCH__
    static Word of_lane(Bits a, Bits b) {
        return reinterpret<Bits>(_Float16(reinterpret<_Float16>(a) * reinterpret<_Float16>(b)));
    }
#endif
};

struct bfloat16 : floating<bfloat16, unsigned short, unsigned int, 0x3f80, 0x7f80> {
    static __device__ Word multiply(Word a, Word b) {
#if __CUDA_ARCH__ >= 800
        // Before sm_90 there is no product without a sum; adding -0 changes nothing.
        Word product;
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(Sign));
        return product;
#else
        return of_lane(a << 16, b << 16) | of_lane(a & 0xffff0000, b & 0xffff0000) << 16;
#endif
    }
    // The product in float32 is exact, or inexact only far below the last bit of a bfloat16.
    static __device__ Word of_lane(Word a, Word b) {
        const Word product = float32::multiply(a, b);
        if ((product & ~float32::Sign) > 0x7f800000) return 0x7fff;
        return (product + 0x7fff + (product >> 16 & 1)) >> 16;  // half to even; infinity stays
    }
};

template <class Bits, class W> struct signed_integer : word_of<Bits, W> {
    static __device__ W signed_number(W x) { return word_of<Bits, W>::spread(x); }
};
template <class Bits, class W> struct unsigned_integer : word_of<Bits, W> {
    static __device__ W signed_number(W) { return 0; }
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

// Applies the function to its OPERANDS words.
static __device__ Word rectified(const Word *w) {
#if OPERANDS == 1
    return rectifiers<TYPE>::FUNCTION(w[0]);
#elif OPERANDS == 2
    return rectifiers<TYPE>::FUNCTION(w[0], w[1]);
#elif OPERANDS == 3
    return rectifiers<TYPE>::FUNCTION(w[0], w[1], w[2]);
#elif OPERANDS == 4
    return rectifiers<TYPE>::FUNCTION(w[0], w[1], w[2], w[3]);
#else
    return rectifiers<TYPE>::FUNCTION(w[0], w[1], w[2], w[3], w[4]);
#endif
}

#ifdef CONTIGUOUS
// 16 bytes, which are one load or store, as bytes and as words.
#define WORDS int(16 / sizeof(Word))
#define ELEMENTS int(16 / sizeof(Bits))
union Pack {
    struct alignas(16) {
        unsigned int x, y, z, w;
    } bytes;
    Word words[WORDS];
};
// A thread loads so many packs before it stores one, which hides the latency of the memory.
#define IN_FLIGHT 4

// Stores past the caches: a large result would be evicted before anyone reads it.
static __device__ void store(Pack *to, const Pack &pack) {
#ifdef __CUDA_ARCH__
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(pack.bytes.x),
                 "r"(pack.bytes.y), "r"(pack.bytes.z), "r"(pack.bytes.w)
                 : "memory");
#else
    to->bytes = pack.bytes;
#endif
}

// Computes contiguous arrays of the same memory order. All lie equally far from a 16-byte boundary,
// which begins `head` elements after their start. Arrays that the function does not have are null,
// and scalars that it does not have 0. Each block computes one tile, since blocks that loop over
// several reach less of the bandwidth. A thread reads an element before it writes it, so out may be
// one of the arrays.
extern "C" __global__ void CONTIGUOUS(const Bits *a, const Bits *b, const Bits *c, Bits *out,
                                      long long size, long long head, unsigned long long p,
                                      unsigned long long q, unsigned long long r) {
    const Bits *const arrays[] = {a, b, c};
    const Bits scalars[] = {Bits(p), Bits(q), Bits(r)};
    const long long packs = (size - head) / ELEMENTS, tail = head + packs * ELEMENTS;
    Word w[OPERANDS];

    if (blockIdx.x == 0) {
        const long long thread = threadIdx.x, ends[] = {thread, tail + thread};
        const bool there[] = {thread < head, thread < size - tail};
#pragma unroll
        for (int end = 0; end < 2; end++) {
            if (!there[end]) continue;
#pragma unroll
            for (int i = 0; i < OPERANDS; i++)
                w[i] = i < ARRAYS ? arrays[i % 3][ends[end]] : scalars[(i + 3 - ARRAYS) % 3];
            out[ends[end]] = rectified(w);
        }
    }

    const long long first = (long long)blockIdx.x * blockDim.x * IN_FLIGHT + threadIdx.x;
    Pack loaded[ARRAYS][IN_FLIGHT];
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; k++)
#pragma unroll
        for (int i = 0; i < ARRAYS; i++) {
            const long long at = first + k * (long long)blockDim.x;
            if (at < packs) loaded[i][k].bytes = ((const Pack *)(arrays[i] + head))[at].bytes;
        }
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; k++) {
        const long long at = first + k * (long long)blockDim.x;
        if (at >= packs) continue;
        Pack result;
#pragma unroll
        for (int lane = 0; lane < WORDS; lane++) {
#pragma unroll
            for (int i = 0; i < OPERANDS; i++)
                w[i] = i < ARRAYS ? loaded[i % ARRAYS][k].words[lane]
                                  : TYPE::Each * scalars[(i + 3 - ARRAYS) % 3];
            result.words[lane] = rectified(w);
        }
        store((Pack *)(out + head) + at, result);
    }
}
#else
// In all other layouts CuPy's elementwise kernel calls `rectify` for each element, with its
// arrays' and scalars' bits.
template <class T> static __device__ Bits bits(const T &element) {
    return reinterpret_cast<const Bits &>(element);
}
template <class T> static __device__ void rectify(const Word *w, T &result) {
    reinterpret_cast<Bits &>(result) = Bits(rectified(w));
}
#endif
