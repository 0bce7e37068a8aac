// NumPy's inner loops over the rectifiers. Each build, for one instruction set, defines one
// function: RELU_XP_TARGET.
//
// All else has internal linkage, for the reason that `vectors.hpp` gives: `rectifiers` and the
// loops are templates over types that are local to this file, so they are local too.

#include "loops.hpp"
#include "vectors.hpp"  // and rectifiers.hpp

#include <cfenv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace {

// The primitives for calls in which every factor at a kink is 1 or 0. A product with 1 is the other
// operand; one with 0 is never selected. So no multiplication is needed.
template <class P> struct unit_factors : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word product(Word, Word, Word b) { return b; }
};

// The primitives for calls in which the derivative at zero is 1: x = 0 then counts as positive.
template <class P> struct one_at_zero : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word positive(Word x) { return P::positive(x) | P::zero(x); }
    static RELU_XP_DEVICE Word zero(Word) { return Word{}; }
};

// The primitives for clipped_relu, which asks only whether c <= x <= infinity: one comparison of
// bits tells.
template <class P> struct up_to_infinity : P {
    typedef typename P::Word Word;
    static RELU_XP_DEVICE Word positive(Word) { return ~Word{}; }
    static RELU_XP_DEVICE Word below(Word x, Word c) { return Word(x - c > P::infinity() - c); }
};

// A simpler function with the same results if each scalar from operand First on is 1 (or 0, with
// or_zero). With LastIsZero the last scalar must be +0, and is a constant of the simpler loop.
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
    else return no_twin();
}

template <class P, auto function, class Indices, class Twin = no_twin, bool LastIsZero = false>
struct inner_loop;

template <class P, auto function, std::size_t... I, class Twin, bool LastIsZero>
struct inner_loop<P, function, std::index_sequence<I...>, Twin, LastIsZero> {
    typedef typename P::Bits Bits;
    typedef typename P::Word Word;
    static constexpr int Operands = sizeof...(I);
    static constexpr std::ptrdiff_t Size = sizeof(Bits), Lanes = sizeof(Word) / Size,
                                    Block = 16 * Lanes;
    static constexpr bool Streamed = Streams && sizeof(Word) == Width;

    template <class T> static RELU_XP_DEVICE T load(const char *from) {
        T value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }

    template <int Arrays>
    static RELU_XP_DEVICE Word word(char *const *at, const Word *scalars, std::ptrdiff_t i) {
        constexpr int known = LastIsZero ? Operands - 1 : Operands;
        return function((int(I) >= known   ? Word{}
                         : int(I) < Arrays ? load<Word>(at[I] + i)
                                           : scalars[I])...);
    }

    // Computes contiguous arrays of at least one word; the operands after the arrays are scalars.
    // Whole words begin at element `head`. The first and the last word may overlap those, and out
    // may be an input: so both are computed before anything is written.
    template <int Arrays, bool streaming>
    static void words(char *const *at, std::ptrdiff_t head, std::ptrdiff_t count) {
        const Word scalars[] = {int(I) < Arrays ? Word{} : P::splat(load<Bits>(at[I]))...};
        char *const out = at[Operands];
        const std::ptrdiff_t last = (count - Lanes) * Size;
        const Word at_first = word<Arrays>(at, scalars, 0),
                   at_last = word<Arrays>(at, scalars, last);
#pragma GCC unroll 2
        for (std::ptrdiff_t i = head * Size; i <= last; i += sizeof(Word)) {
            const Word result = word<Arrays>(at, scalars, i);
            if constexpr (streaming) stream(out + i, result);
            else std::memcpy(out + i, &result, sizeof result);
        }
        if constexpr (streaming) finish_streaming();
        std::memcpy(out, &at_first, sizeof at_first);
        std::memcpy(out + last, &at_last, sizeof at_last);
    }
    template <bool streaming>
    static void words(int arrays, char *const *at, std::ptrdiff_t head, std::ptrdiff_t count) {
        ((arrays == int(I) + 1 ? words<int(I) + 1, streaming>(at, head, count) : void()), ...);
    }

    // Computes arrays of any strides, or shorter than a word, in buffers. The first element of each
    // block also fills the rest of the last word, so that no exception is raised that the array
    // itself would not raise.
    static __attribute__((noinline)) void blocks(int arrays, char **at, const std::ptrdiff_t *steps,
                                                 std::ptrdiff_t count) {
        Word buffers[Operands + 1][Block / Lanes];
        char *in[] = {int(I) < arrays ? reinterpret_cast<char *>(buffers[I]) : at[I]...,
                      reinterpret_cast<char *>(buffers[Operands])};
        while (count > 0) {
            const std::ptrdiff_t here = count < Block ? count : Block,
                                 full = (here + Lanes - 1) / Lanes;
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
    static RELU_XP_DEVICE void copy(char *to, std::ptrdiff_t to_step, const char *from,
                                    std::ptrdiff_t step, std::ptrdiff_t count) {
        if (to_step == Size && step == Size) std::memcpy(to, from, count * Size);
        else
            for (std::ptrdiff_t i = 0; i < count; i++)
                std::memcpy(to + i * to_step, from + i * step, Size);
    }
    static RELU_XP_DEVICE void advance(char **at, const std::ptrdiff_t *steps, std::ptrdiff_t n) {
        for (int k = 0; k <= Operands; k++) at[k] += n * steps[k];
    }

    template <class Q, auto simpler, int First, bool or_zero, bool last_is_zero>
    static RELU_XP_DEVICE bool by_twin(twin<Q, simpler, First, or_zero, last_is_zero>,
                                       char *const *args, std::ptrdiff_t count,
                                       const std::ptrdiff_t *steps, bool streaming) {
        const Word one = P::one(), none{};
        for (int k = First; k < Operands; k++) {
            if (steps[k] != 0) return false;
            const Word number = P::splat(load<Bits>(args[k])), zeros = P::zero(number);
            const bool is_one = !std::memcmp(&number, &one, sizeof one);
            const bool is_zero = or_zero && std::memcmp(&zeros, &none, sizeof none);
            if (last_is_zero && k == Operands - 1 ? std::memcmp(&number, &none, sizeof none)
                                                  : !is_one && !is_zero)
                return false;  // the last has to be +0: the sign of -0 would show in a derivative
        }
        inner_loop<Q, simpler, std::index_sequence<I...>, no_twin, last_is_zero>::row(
            args, count, steps, streaming);
        return true;
    }
    static RELU_XP_DEVICE bool by_twin(no_twin, char *const *, std::ptrdiff_t,
                                       const std::ptrdiff_t *, bool) {
        return false;
    }

    static void row(char *const *args, std::ptrdiff_t count, const std::ptrdiff_t *steps,
                    bool streaming) {
        if (by_twin(Twin(), args, count, steps, streaming)) return;
        char *at[] = {args[I]..., args[Operands]};
        int arrays = Operands;  // the last operands, if they do not step, are scalars
        while (arrays > 1 && steps[arrays - 1] == 0) arrays--;
        bool direct = count >= Lanes && steps[Operands] == Size;
        for (int k = 0; k < arrays; k++) direct &= steps[k] == Size;
        if (direct) {
            // A store across two cache lines takes twice as long, so the whole words of a long
            // array begin at a multiple of their size.
            const bool is_long = count >= Block;
            const std::ptrdiff_t head =
                is_long ? (-std::intptr_t(at[Operands]) & (sizeof(Word) - 1)) / Size : 0;
            if (Streamed && streaming && is_long) words<Streamed>(arrays, at, head, count);
            else words<false>(arrays, at, head, count);
        } else {
            blocks(arrays, at, steps, count);
        }
    }

    static void run(char **args, const std::ptrdiff_t *dimensions, const std::ptrdiff_t *steps,
                    void *streaming) {
        row(args, dimensions[0], steps, streaming != nullptr);
        note();
    }

    // The loop of a generalized ufunc: dimensions are the number of rows and their length; steps
    // come first between rows, for each operand, and then within a row.
    static void rows(char **args, const std::ptrdiff_t *dimensions, const std::ptrdiff_t *steps,
                     void *) {
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

template <class Word, class... Words> constexpr int arity(Word (*)(Words...)) {
    return sizeof...(Words);
}
template <class P, auto function, class Twin = no_twin>
void add_loop(Add add, const char *name, char type) {
    constexpr int operands = arity(function);
    static_assert(operands < MostOperands, "the result needs a place too");
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
