// What `rectifiers.hpp` computes, told in SMT-LIB by the very text, and run: the host program of the proof.
//
// Without arguments it prints each text that TEXTS names, a line an operation, over the words arg0, arg1, ...: the
// inputs in the order of the signature. A word has one lane, and nothing but & | ~ mixes words: what holds of one lane
// holds of several side by side. The primitives keep to what `rectifiers.hpp` asks of them, and no more: "any bits" are
// a constant of which nothing is said. With arguments `TEXT TYPE BITS...` it runs one on these inputs, with the
// primitives of `rectifiers.cu` as compiled for the host, and prints the bits of the result, and whether it overflowed.

#include <cfenv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#define RELU_XP_DEVICE
#define __device__
#define TYPE float32
#define FUNCTION relu
#define OPERANDS 1
#define ARRAYS 1

#include "texts.hpp"  // rectifiers.hpp, and others with a fault, in a namespace each
using original::rectifiers;
#include "rectifiers.cu"

// An operation is printed as it is made; its word is the name of the result.
struct printed {
    struct Word {
        std::string name;
        friend Word operator&(const Word &a, const Word &b) { return defined("(bvand " + a.name + " " + b.name + ")"); }
        friend Word operator|(const Word &a, const Word &b) { return defined("(bvor " + a.name + " " + b.name + ")"); }
        Word operator~() const { return defined("(bvnot " + name + ")"); }
    };
    static inline int count;
    static inline std::string masks, raised;

    static Word defined(const std::string &term) {
        const std::string name = "w" + std::to_string(count++);
        std::printf("(define-fun %s () Word %s)\n", name.c_str(), term.c_str());
        return {name};
    }
    static Word any_bits() {
        const std::string name = "w" + std::to_string(count++);
        std::printf("(declare-const %s Word)\n", name.c_str());
        return {name};
    }
    static Word made(const char *primitive, const Word &x) { return defined("(" + (primitive + (" " + x.name)) + ")"); }

    static Word one() { return {"one.bits"}; }
    static Word two() { return {"two.bits"}; }
    static Word positive(Word x) { return made("positive", x); }
    static Word negative(Word x) { return made("negative", x); }
    static Word zero(Word x) { return made("zero", x); }
    static Word signed_number(Word x) { return made("signed_number", x); }
    static Word below(Word x, Word y) {
        return defined("(below " + x.name + " " + y.name + " " + any_bits().name + ")");
    }
    static Word select(Word mask, Word a, Word b) { return (mask & a) | (~mask & b); }
    static Word product(Word mask, Word a, Word b) {
        const Word result = any_bits();
        const std::string operands = "(value " + a.name + ") (value " + b.name + "))";
        std::printf("(assert (=> (= %s ones) (= (value %s) (mul %s)))\n",
            mask.name.c_str(), result.name.c_str(), operands.c_str());
        masks += " (or (= " + mask.name + " ones) (= " + mask.name + " zeros))";
        raised += " (and (= " + mask.name + " ones) (mul_raises " + operands + ")";
        return result;
    }
};

template <class Word, class... Words, std::size_t... I>
void print(const char *text, Word (*function)(Words...), std::index_sequence<I...>) {
    std::printf("; %s\n", text);
    printed::count = 0, printed::masks = printed::raised = "";
    const Word result = function(Words{"arg" + std::to_string(I)}...);
    std::printf("(define-fun result () Number (value %s))\n", result.name.c_str());
    std::printf("(define-fun masks () Bool (and true true%s))\n", printed::masks.c_str());
    std::printf("(define-fun raised () Bool (or false false%s))\n", printed::raised.c_str());
}
template <class Word, class... Words> void print(const char *text, Word (*function)(Words...)) {
    print(text, function, std::index_sequence_for<Words...>());
}

// The primitives of rectifiers.cu, but that a product raises its exceptions where the mask is set, and there alone.
template <class T> struct masked : T {
    typedef typename T::Word Word;
    static Word product(Word mask, Word a, Word b) {
        return T::multiply(T::select(mask, a, T::one()), T::select(mask, b, T::one()));
    }
};

template <class T, class Word, class... Words, std::size_t... I>
void run(Word (*function)(Words...), char **bits, std::index_sequence<I...>) {
    const volatile typename T::Bits result = function(Word(T::Each * std::strtoull(bits[I], nullptr, 0))...);
    std::printf("%llu %d\n", (unsigned long long)result, std::fetestexcept(FE_OVERFLOW) != 0);
}
template <class T, class Word, class... Words> void run(Word (*function)(Words...), char **bits) {
    run<T>(function, bits, std::index_sequence_for<Words...>());
}

#define PRINT(space, function) print(#space " " #function, space::rectifiers<printed>::function);
#define RUN(space, function) if (!std::strcmp(argv[1], #space " " #function)) { OF(space, function, float16) \
    OF(space, function, bfloat16) OF(space, function, float32) OF(space, function, float64) }
#define OF(space, function, type) \
    if (!std::strcmp(argv[2], #type)) run<type>(space::rectifiers<masked<type>>::function, argv + 3);

int main(int argc, char **argv) {
    if (argc == 1) { TEXTS(PRINT) }
    else { TEXTS(RUN) }
}
