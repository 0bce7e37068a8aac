// NumPy's inner loops over the rectifiers, compiled once for each kind of processor: RELU_XP_TARGET names it.
//
// Nothing here has external linkage but the function at the end, or the linker would take one processor's code for
// another's: that is why the rectifiers and their words are included inside of a namespace.

#include "loops.hpp"

#include <cfenv>
#include <cfloat>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define RELU_XP_DEVICE inline __attribute__((always_inline))

namespace {

#include "rectifiers.hpp"
#include "lanes.hpp"

// Where all factors at a kink are 1, or 0, of which nothing is selected: a product there is the other operand.
template <class P> struct unit_factors : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word product(Word, Word, Word b) { return b; }
};

// Where the derivative at zero is 1: a zero is then like a number above it, and needs no look of its own.
template <class P> struct one_at_zero : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word positive(Word x) { return P::positive(x) | P::zero(x); }
    static RELU_XP_DEVICE Word zero(Word) { return Word{}; }
};

// Where x is looked at for one thing alone, whether it lies between a ceiling and infinity: one comparison of bits tells.
template <class P> struct up_to_infinity : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word positive(Word) { return ~Word{}; }
    static RELU_XP_DEVICE Word below(Word x, Word c) { return Word(x - c > P::infinity() - c); }
};

// What runs in a function's place, with less to do, where all its scalars from one on are 1, or 0 where that may be; or where
// the last is 0 and known to be.
template <class P, auto function, int First, bool or_zero, bool LastIsZero = false> struct twin {};
struct no_twin {};

template <auto function> struct constant;
template <auto a, auto b> constexpr bool same = std::is_same_v<constant<a>, constant<b>>;

template <class P, auto function> constexpr auto twin_of() {
    typedef unit_factors<P> units;
    typedef one_at_zero<P> ones;
    if constexpr (same<function, rectifiers<P>::relu_vjp>)
        return twin<units, rectifiers<units>::relu_vjp, 2, true>();
    else if constexpr (same<function, rectifiers<P>::leaky_relu_vjp>)
        return twin<ones, rectifiers<ones>::leaky_relu_vjp, 3, false>();
    else if constexpr (same<function, rectifiers<P>::clipped_relu_vjp>)
        return twin<units, rectifiers<units>::clipped_relu_vjp, 3, true, true>();
    else if constexpr (same<function, rectifiers<P>::clipped_relu_grad>)
        return twin<P, function, 2, true, true>();
    else if constexpr (same<function, rectifiers<P>::clipped_relu> && sizeof(typename P::Bits) <= 8)
        return twin<up_to_infinity<P>, rectifiers<up_to_infinity<P>>::clipped_relu, 2, true>();
    else
        return no_twin();
}

template <class P, auto function, class Indices, class Twin = no_twin, bool LastIsZero = false> struct inner_loop;

template <class P, auto function, std::size_t... I, class Twin, bool LastIsZero>
struct inner_loop<P, function, std::index_sequence<I...>, Twin, LastIsZero> {
    typedef typename P::Bits Bits;
    typedef typename P::Word Word;
    static constexpr int Operands = sizeof...(I);
    static constexpr std::ptrdiff_t Size = sizeof(Bits), Lanes = sizeof(Word) / Size, Block = 16 * Lanes;
    static constexpr bool Streamed = Streams && sizeof(Word) == Width;

    template <class T> static RELU_XP_DEVICE T load(const char *from) {
        T value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }

    template <int Arrays> static RELU_XP_DEVICE Word word(char *const *at, const Word *scalars, std::ptrdiff_t i) {
        constexpr int known = LastIsZero ? Operands - 1 : Operands;
        return function((int(I) >= known ? Word{} : int(I) < Arrays ? load<Word>(at[I] + i) : scalars[I])...);
    }

    // Contiguous arrays, the first operands, of a word or more; and scalars. Whole words begin at the head; the first word
    // and the last may overlap them, so they are made before anything is overwritten, as out may be an input.
    template <int Arrays, bool streaming> static void words(char *const *at, std::ptrdiff_t head, std::ptrdiff_t count) {
        const Word scalars[] = {int(I) < Arrays ? Word{} : P::splat(load<Bits>(at[I]))...};
        char *const out = at[Operands];
        const std::ptrdiff_t last = (count - Lanes) * Size;
        const Word at_first = word<Arrays>(at, scalars, 0), at_last = word<Arrays>(at, scalars, last);
#pragma GCC unroll 2
        for (std::ptrdiff_t i = head * Size; i <= last; i += sizeof(Word)) {
            const Word result = word<Arrays>(at, scalars, i);
            if constexpr (streaming) stream(out + i, result);
            else std::memcpy(out + i, &result, sizeof result);
        }
        if constexpr (streaming) _mm_sfence();
        std::memcpy(out, &at_first, sizeof at_first);
        std::memcpy(out + last, &at_last, sizeof at_last);
    }
    template <bool streaming>
    static void words(int arrays, char *const *at, std::ptrdiff_t head, std::ptrdiff_t count) {
        ((arrays == int(I) + 1 ? words<int(I) + 1, streaming>(at, head, count) : void()), ...);
    }

    // Any strides, and less than a word: by way of buffers. An element fills up the last word: it raises nothing new.
    static __attribute__((noinline)) void blocks(int arrays, char **at, const std::ptrdiff_t *steps,
                                                 std::ptrdiff_t count) {
        Word buffers[Operands + 1][Block / Lanes];
        char *in[] = {int(I) < arrays ? reinterpret_cast<char *>(buffers[I]) : at[I]...,
                      reinterpret_cast<char *>(buffers[Operands])};
        while (count > 0) {
            const std::ptrdiff_t here = count < Block ? count : Block, full = (here + Lanes - 1) / Lanes;
            for (int k = 0; k < arrays; k++) {
                buffers[k][full - 1] = P::splat(load<Bits>(at[k]));
                copy(in[k], Size, at[k], steps[k], here);
            }
            words<false>(arrays, in, 0, full * Lanes);
            copy(at[Operands], steps[Operands], in[Operands], Size, here);
            advance(at, steps, here);
            count -= here;
        }
    }
    static RELU_XP_DEVICE void copy(char *to, std::ptrdiff_t to_step, const char *from, std::ptrdiff_t step,
                                    std::ptrdiff_t count) {
        if (to_step == Size && step == Size) std::memcpy(to, from, count * Size);
        else for (std::ptrdiff_t i = 0; i < count; i++) std::memcpy(to + i * to_step, from + i * step, Size);
    }
    static RELU_XP_DEVICE void advance(char **at, const std::ptrdiff_t *steps, std::ptrdiff_t n) {
        for (int k = 0; k <= Operands; k++) at[k] += n * steps[k];
    }

    template <class Q, auto simpler, int First, bool or_zero, bool last_is_zero>
    static RELU_XP_DEVICE bool by_twin(twin<Q, simpler, First, or_zero, last_is_zero>, char *const *args,
                                       std::ptrdiff_t count, const std::ptrdiff_t *steps, bool streaming) {
        const Word one = P::one(), none{};
        for (int k = First; k < Operands; k++) {
            if (steps[k] != 0) return false;
            const Word number = P::splat(load<Bits>(args[k])), zeros = P::zero(number);
            const bool is_one = !std::memcmp(&number, &one, sizeof one);
            const bool is_zero = or_zero && std::memcmp(&zeros, &none, sizeof none);
            if (last_is_zero && k == Operands - 1 ? std::memcmp(&number, &none, sizeof none) : !is_one && !is_zero)
                return false;  // the last has to be +0, as a derivative has its sign
        }
        inner_loop<Q, simpler, std::index_sequence<I...>, no_twin, last_is_zero>::row(args, count, steps, streaming);
        return true;
    }
    static RELU_XP_DEVICE bool by_twin(no_twin, char *const *, std::ptrdiff_t, const std::ptrdiff_t *, bool) {
        return false;
    }

    static void row(char *const *args, std::ptrdiff_t count, const std::ptrdiff_t *steps, bool streaming) {
        if (by_twin(Twin(), args, count, steps, streaming)) return;
        char *at[] = {args[I]..., args[Operands]};
        int arrays = Operands;  // and then scalars, which do not step; the first always counts as an array
        while (arrays > 1 && steps[arrays - 1] == 0) arrays--;
        bool direct = count >= Lanes && steps[Operands] == Size;
        for (int k = 0; k < arrays; k++) direct &= steps[k] == Size;
        if (direct) {
            // A word across two cache lines takes twice as long, so a long array's words begin where out's lines do.
            const bool is_long = count >= Block;
            const std::ptrdiff_t head = is_long ? (-std::intptr_t(at[Operands]) & (sizeof(Word) - 1)) / Size : 0;
            if (Streamed && streaming && is_long) words<Streamed>(arrays, at, head, count);
            else words<false>(arrays, at, head, count);
        } else {
            blocks(arrays, at, steps, count);
        }
    }

    static void run(char **args, const std::ptrdiff_t *dimensions, const std::ptrdiff_t *steps, void *streaming) {
        row(args, dimensions[0], steps, streaming != nullptr);
        note();
    }

    // As a generalized ufunc's loop has them: the number of rows and their length, the steps between rows and within.
    static void rows(char **args, const std::ptrdiff_t *dimensions, const std::ptrdiff_t *steps, void *) {
        char *at[] = {args[I]..., args[Operands]};
        for (std::ptrdiff_t i = 0; i < dimensions[0]; i++) {
            row(at, dimensions[1], steps + Operands + 1, false);
            for (int k = 0; k <= Operands; k++) at[k] += steps[k];
        }
        note();
    }

    static void note() {
        if (!P::floating) return;
        const int raised = std::fetestexcept(FE_OVERFLOW | FE_UNDERFLOW | FE_INVALID);
        if (raised) std::feclearexcept(raised), relu_xp_note(raised);
    }
};

template <class Word, class... Words> constexpr int arity(Word (*)(Words...)) { return sizeof...(Words); }
template <class P, auto function, class Twin = no_twin> void add_loop(Add add, const char *name, char type) {
    constexpr int operands = arity(function);
    typedef inner_loop<P, function, std::make_index_sequence<operands>, Twin> loop;
    add(name, operands, type, loop::run, loop::rows);
}

#define ADD(name) add_loop<P, rectifiers<P>::name>(add, #name, type);
#define ADD_WITH_TWIN(name) \
    add_loop<P, rectifiers<P>::name, decltype(twin_of<P, rectifiers<P>::name>())>(add, #name, type);
template <class P> void add_integer(Add add, char type) { RELU_XP_OF_INTEGERS(ADD) }
template <class P> void add_float(Add add, char type) { RELU_XP_FUNCTIONS(ADD_WITH_TWIN) }

template <class Int> void add_integers(Add add, char with_sign, char without) {
    add_integer<signed_integer<std::make_unsigned_t<Int>>>(add, with_sign);
    add_integer<unsigned_integer<std::make_unsigned_t<Int>>>(add, without);
}

}  // namespace

void RELU_XP_TARGET(Add add) {
    add_integers<signed char>(add, 'b', 'B');
    add_integers<short>(add, 'h', 'H');
    add_integers<int>(add, 'i', 'I');
    add_integers<long>(add, 'l', 'L');
    add_integers<long long>(add, 'q', 'Q');
    add_float<float16>(add, 'e');
    add_float<float32>(add, 'f');
    add_float<float64>(add, 'd');
    add_float<longdouble>(add, 'g');
    add_float<bfloat16>(add, 'E');
}
