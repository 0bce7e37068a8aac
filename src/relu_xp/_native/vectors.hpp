// The primitives that `rectifiers.hpp` asks for, for each of NumPy's types, in the processor's
// vector registers.
//
// A word is a vector of GCC's and Clang's own, as wide as a register. A library of vectors would
// leave to us what most of this file is about: products of 16-bit types with their floating-point
// exceptions. All comparisons are between integers, because a comparison between floats raises an
// exception for a NaN.
//
// Everything here has internal linkage. `loops.cpp` is compiled once for each instruction set, and
// the linker would otherwise merge functions of the same name, so that an old processor met
// instructions that it lacks.

#pragma once

#include "rectifiers.hpp"

#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512BW__)
constexpr int Width = 64;
#elif defined(__AVX2__)
constexpr int Width = 32;
#else
constexpr int Width = 16;
#endif

template <class To, class From> RELU_XP_DEVICE To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits for bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// Stores a word past the caches. A normal store would first read its cache line from memory, which
// is a waste where a large `out` is not an input too.
template <class Word> RELU_XP_DEVICE void stream(char *to, Word word) {
#if defined(__AVX512BW__)
    _mm512_stream_si512(reinterpret_cast<__m512i *>(to), reinterpret<__m512i>(word));
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i *>(to), reinterpret<__m256i>(word));
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i *>(to), reinterpret<__m128i>(word));
#endif
}
#if defined(__SSE2__)
constexpr bool Streams = true;
RELU_XP_DEVICE void finish_streaming() { _mm_sfence(); }
#else
constexpr bool Streams = false;
RELU_XP_DEVICE void finish_streaming() {}
#endif

template <class B> struct vector_of {
    typedef B Bits;
    typedef std::make_signed_t<B> Signed;
    typedef Bits Word __attribute__((vector_size(Width)));
    typedef Signed Ints __attribute__((vector_size(Width)));
    static constexpr bool floating = false;

    static RELU_XP_DEVICE Word splat(Bits x) { return Word{} + x; }
    static RELU_XP_DEVICE Word select(Word mask, Word a, Word b) {
        return (mask & a) | (~mask & b);
    }
};

template <class B> struct signed_integer : vector_of<B> {
    using typename vector_of<B>::Word;
    static RELU_XP_DEVICE Word signed_number(Word x) {
        return Word(typename vector_of<B>::Ints(x) < 0);
    }
};

template <class B> struct unsigned_integer : vector_of<B> {
    using typename vector_of<B>::Word;
    static RELU_XP_DEVICE Word signed_number(Word) { return Word{}; }
};

// The part that all floating types share. `Self` adds `times`, the product of all lanes; a lane
// outside the mask gets the factor 1, which raises no exception.
//
// One integer comparison finds the lanes where x < 0: read `bits - 1` as a signed integer. The
// numbers below 0, from the smallest subnormal to -infinity, then come first; NaNs with a sign
// follow; -0 wraps around to the largest.
template <class Self, class B, B One, B Infinity> struct floats : vector_of<B> {
    typedef vector_of<B> Vector;
    using typename Vector::Ints;
    using typename Vector::Signed;
    using typename Vector::Word;
    static constexpr bool floating = true;
    static constexpr B Sign = B(B(1) << (8 * sizeof(B) - 1));

    static RELU_XP_DEVICE Word one() { return Vector::splat(One); }
    static RELU_XP_DEVICE Word two() { return Vector::splat(Sign >> 1); }
    static RELU_XP_DEVICE Word infinity() { return Vector::splat(Infinity); }
    static RELU_XP_DEVICE Word below(Word x, Word y) { return Word(Ints(x) < Ints(y)); }
    static RELU_XP_DEVICE Word positive(Word x) { return negative(x + Sign); }
    static RELU_XP_DEVICE Word negative(Word x) {
        return Word(Ints(x - B(1)) < Signed(Infinity ^ Sign));
    }
    static RELU_XP_DEVICE Word zero(Word x) { return Word(x + x == 0); }
    static RELU_XP_DEVICE Word signed_number(Word x) {
        return Word(Ints(x) <= Signed(Sign | Infinity));
    }
    static RELU_XP_DEVICE Word product(Word mask, Word a, Word b) {
        return Self::times(a, Vector::select(mask, b, one()));
    }
};

struct float64 : floats<float64, std::uint64_t, 0x3ff0000000000000, 0x7ff0000000000000> {
    typedef double Floats __attribute__((vector_size(Width)));
    static RELU_XP_DEVICE Word times(Word a, Word b) { return Word(Floats(a) * Floats(b)); }
};

struct float32 : floats<float32, std::uint32_t, 0x3f800000, 0x7f800000> {
    typedef float Floats __attribute__((vector_size(Width)));
    static RELU_XP_DEVICE Word times(Word a, Word b) { return Word(Floats(a) * Floats(b)); }

    // Multiplies for the exceptions alone. Rounding to fewer bits by integer operations raises none
    // by itself.
    static RELU_XP_DEVICE void raise(Word a, Word b) {
        const Word product = times(a, b);
#if defined(__x86_64__) || defined(__i386__)
        asm volatile("" : : "x"(product));
#elif defined(__aarch64__)
        asm volatile("" : : "w"(product));
#else
        asm volatile("" : : "m"(product));
#endif
    }
};

// Products in float32, which are exact, or inexact only far below the last bit of a bfloat16. One
// lane of float32 holds two of bfloat16: the lower one is shifted up, and the upper one is in its
// place once the lower is cleared.
struct bfloat16 : floats<bfloat16, std::uint16_t, 0x3f80, 0x7f80> {
    typedef float32::Word Pairs;
    static constexpr std::uint32_t Upper = 0xffff0000;

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
    // The processor's own rounding takes subnormals for zeros and raises no exception. So a word
    // with a subnormal product, or with a result that is not finite, is rounded by integer
    // operations instead.
    static RELU_XP_DEVICE Word times(Word a, Word b) {
        return by_pairs(a, b, std::make_index_sequence<Width / 2>());
    }
    template <std::size_t... I>
    static RELU_XP_DEVICE Word by_pairs(Word a, Word b, std::index_sequence<I...>) {
        constexpr int subnormal = 0x20;
        const __m512 lower = __m512(float32::times(Pairs(a) << 16, Pairs(b) << 16));
        const __m512 upper = __m512(float32::times(Pairs(a) & Upper, Pairs(b) & Upper));
        const Word apart = reinterpret<Word>(_mm512_cvtne2ps_pbh(upper, lower));
        const Word result = __builtin_shufflevector(apart, apart, (I / 2 + I % 2 * (Width / 4))...);
        const __mmask32 beyond =
            _mm512_cmpge_epu16_mask(__m512i(result + result), __m512i(Word{} + 0xff00));
        const __mmask16 tiny =
            _mm512_fpclass_ps_mask(lower, subnormal) | _mm512_fpclass_ps_mask(upper, subnormal);
        return __builtin_expect(beyond | tiny, 0) ? by_integers(a, b) : result;
    }
#else
    static RELU_XP_DEVICE Word times(Word a, Word b) { return by_integers(a, b); }
#endif
    static RELU_XP_DEVICE Word by_integers(Word a, Word b) {
        const Pairs lower = rounded(Pairs(a) << 16, Pairs(b) << 16);
        const Pairs upper = rounded(Pairs(a) & Upper, Pairs(b) & Upper);
        return Word((lower >> 16) | (upper & Upper));
    }
    // Rounds half to even, in the upper 16 bits. The lower bits of a NaN or an infinity are zeros,
    // because those of its operands are, so the sum does not change its upper bits.
    static RELU_XP_DEVICE Pairs rounded(Pairs a, Pairs b) {
        const Pairs product = float32::times(a, b);
        // A second product raises the exceptions of this rounding. Where the result is below
        // 2**-126, the product with 2**-16 is inexact in float32, and underflows, exactly if the
        // rounding to 8 bits loses bits. Elsewhere the factor is a little less than
        // 1 / (1 - 2**-9), and the product overflows exactly if it rounds to 2**128.
        const float32::Ints size = float32::Ints(product & 0x7fffffff);
        float32::raise(product, size < 0x007fc000 ? Pairs{} + 0x37800000 : Pairs{} + 0x3f804021);
        return product + 0x7fff + ((product >> 16) & 1);
    }
};

// The processor's own products; or products in float32, which are exact, and then rounded.
struct float16 : floats<float16, std::uint16_t, 0x3c00, 0x7c00> {
#if defined(__AVX512FP16__)
    static RELU_XP_DEVICE Word times(Word a, Word b) {
        return Word(_mm512_mul_ph(__m512h(a), __m512h(b)));
    }
#elif defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
    static RELU_XP_DEVICE Word times(Word a, Word b) {
        return Word(vmulq_f16(float16x8_t(a), float16x8_t(b)));
    }
#elif defined(__F16C__) || defined(__aarch64__)
    typedef std::uint16_t Half __attribute__((vector_size(Width / 2)));
    typedef float32::Floats Floats;

    static RELU_XP_DEVICE Word times(Word a, Word b) {
        return by_halves(a, b, std::make_index_sequence<Width / 4>());
    }
    template <std::size_t... I>
    static RELU_XP_DEVICE Word by_halves(Word a, Word b, std::index_sequence<I...>) {
        constexpr std::size_t Lanes = sizeof...(I);
        const Half lower = narrow(widen(__builtin_shufflevector(a, a, I...)) *
                                  widen(__builtin_shufflevector(b, b, I...)));
        const Half upper = narrow(widen(__builtin_shufflevector(a, a, (I + Lanes)...)) *
                                  widen(__builtin_shufflevector(b, b, (I + Lanes)...)));
        return __builtin_shufflevector(lower, upper, I..., (I + Lanes)...);
    }
#if defined(__AVX512BW__)
    static RELU_XP_DEVICE Floats widen(Half x) { return Floats(_mm512_cvtph_ps(__m256i(x))); }
    static RELU_XP_DEVICE Half narrow(Floats x) { return Half(_mm512_cvtps_ph(__m512(x), 0)); }
#elif defined(__F16C__)
    static RELU_XP_DEVICE Floats widen(Half x) { return Floats(_mm256_cvtph_ps(__m128i(x))); }
    static RELU_XP_DEVICE Half narrow(Floats x) { return Half(_mm256_cvtps_ph(__m256(x), 0)); }
#else
    static RELU_XP_DEVICE Floats widen(Half x) {
        return Floats(vcvt_f32_f16(reinterpret<float16x4_t>(x)));
    }
    static RELU_XP_DEVICE Half narrow(Floats x) {
        return reinterpret<Half>(vcvt_f16_f32(float32x4_t(x)));
    }
#endif
#else
    typedef float32::Word Pairs;
    typedef float32::Ints Ints;
    typedef float32::Floats Floats;

    static RELU_XP_DEVICE Word times(Word a, Word b) {
        const Pairs lower = narrow(widen(Pairs(a) & 0xffff) * widen(Pairs(b) & 0xffff));
        return Word(lower | (narrow(widen(Pairs(a) >> 16) * widen(Pairs(b) >> 16)) << 16));
    }
    static RELU_XP_DEVICE Floats widen(Pairs x) {
        const Pairs size = x & 0x7fff, finite = Pairs(Floats(size << 13) * 0x1p112f);
        return Floats(finite | (Pairs(Ints(size) >= 0x7c00) & 0x7f800000) | ((x & 0x8000) << 16));
    }
    // To round to a subnormal, add 1/2: the last bit of the sum is worth 2**-24, as that of a
    // subnormal float16 is, and what the sum adds to the bits of 1/2 is the result.
    static RELU_XP_DEVICE Pairs narrow(Floats x) {
        const Pairs size = Pairs(x) & 0x7fffffff;
        const Ints order = Ints(size);
        const Floats sum = Floats(size) + 0.5f;
        const Pairs normal = (size + 0xfff + ((size >> 13) & 1) - (112u << 23)) >> 13;
        const Pairs rounded =
            float32::select(Pairs(order < 0x38800000), Pairs(sum) - 0x3f000000, normal);
        const Pairs beyond = Pairs(order >= 0x477ff000);  // from 65520 on infinity is nearest
        const Pairs overflow = beyond & Pairs(order < 0x7f800000);
        const Pairs underflow = Pairs(order < 0x387ff000) & Pairs(Pairs(sum - 0.5f) != size);
        // The factor is 2**-100, 2**100 or 0.
        const Pairs factor = (underflow & 0x0d800000) | (overflow & 0x71800000);
        float32::raise(factor, factor);
        const Pairs infinity = 0x7c00 | (Pairs(order > 0x7f800000) & 0x200);
        return float32::select(beyond, infinity, rounded) | ((Pairs(x) >> 16) & 0x8000);
    }
#endif
};

#if LDBL_MANT_DIG == 53
typedef float64 longdouble;
#else
// A word has one lane here, since no vector holds a long double.
struct longdouble {
    typedef unsigned __int128 Bits, Word;
    static constexpr bool floating = true;
#if LDBL_MANT_DIG == 64
    static constexpr Word Sign = Word(1) << 79, Infinity = (Word(0x7fff) << 64) | (Word(1) << 63);
#else
    static constexpr Word Sign = Word(1) << 127, Infinity = Word(0x7fff) << 112;
#endif
    static RELU_XP_DEVICE Word splat(Bits x) { return x; }
    static RELU_XP_DEVICE Word size(Word x) { return x & (Sign - 1); }
    static RELU_XP_DEVICE bool sign(Word x) { return (x & Sign) != 0; }
    static RELU_XP_DEVICE Word one() { return bits(1); }
    static RELU_XP_DEVICE Word two() { return bits(2); }
    static RELU_XP_DEVICE Word infinity() { return Infinity; }
    static RELU_XP_DEVICE Word below(Word x, Word y) { return -Word(size(x) < size(y)); }
    static RELU_XP_DEVICE Word positive(Word x) {
        return -Word(!sign(x) && size(x) - 1 < Infinity);
    }
    static RELU_XP_DEVICE Word negative(Word x) { return positive(x ^ Sign); }
    static RELU_XP_DEVICE Word zero(Word x) { return -Word(size(x) == 0); }
    static RELU_XP_DEVICE Word signed_number(Word x) {
        return -Word(sign(x) && size(x) <= Infinity);
    }
    static RELU_XP_DEVICE Word select(Word mask, Word a, Word b) {
        return (mask & a) | (~mask & b);
    }
    static RELU_XP_DEVICE Word product(Word mask, Word a, Word b) {
        return bits(number(a) * number(select(mask, b, one())));
    }
    static RELU_XP_DEVICE long double number(Word x) { return reinterpret<long double>(x); }
    static RELU_XP_DEVICE Word bits(long double x) { return reinterpret<Word>(x); }
};
#endif

}  // namespace
