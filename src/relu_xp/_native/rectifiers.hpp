// The rectifiers, each once, for NumPy's loops (`loops.cpp`), CuPy's kernels (`rectifiers.cu`) and
// the proof.
//
// All of them compute words. A word holds the bits of one element, or of several side by side,
// called lanes. The type of a word and its operations are the template parameter `P`:
//
//   P::Word                   with the bit operations & | ~
//   P::one(), P::two()        the numbers 1 and 2 in each lane
//   P::positive(x)            a mask: all ones in each lane where x > 0, zeros elsewhere
//   P::negative(x)            where x < 0
//   P::zero(x)                where x == 0, of either sign
//   P::below(x, y)            where x < y, in lanes where both are above 0; elsewhere any bits
//   P::signed_number(x)       where x < 0 or x is -0: the sign bit is set, and x is not NaN
//   P::select(mask, a, b)     the bits of a where the mask is set, of b elsewhere
//   P::product(mask, a, b)    a * b, rounded once, where the mask is set, with the floating-point
//                             exceptions of these lanes; elsewhere any bits, and no exception
//
// Derivatives select, they never multiply by a mask: 0 * inf would be NaN. The select stands after
// the product, so no compiler can fuse the product with a sum that follows.
//
// There is no include guard: the proof includes this text, and others with a fault, in a namespace
// each.

#ifndef RELU_XP_DEVICE  // CUDA defines it
#define RELU_XP_DEVICE inline __attribute__((always_inline))
#endif

template <class P> struct rectifiers {
    typedef typename P::Word Word;

    static RELU_XP_DEVICE Word relu(Word x) { return x & ~P::signed_number(x); }

    static RELU_XP_DEVICE Word relu_grad(Word x, Word z) {
        return P::select(P::positive(x), P::one(), z & P::zero(x));
    }

    // z * g is g for z = 1. For z = 0 it is NaN if g is infinite, so that zero is selected.
    static RELU_XP_DEVICE Word relu_vjp(Word x, Word g, Word z) {
        const Word scaled = P::zero(x) & ~P::zero(z);
        return P::select(P::positive(x), g, P::product(scaled, z, g) & scaled);
    }

    static RELU_XP_DEVICE Word leaky_relu(Word x, Word s) {
        const Word scaled = P::negative(x);
        return P::select(scaled, P::product(scaled, s, x), x);
    }

    static RELU_XP_DEVICE Word leaky_relu_grad(Word x, Word s, Word z) {
        return P::select(P::positive(x), P::one(), P::select(P::zero(x), z, s));
    }

    static RELU_XP_DEVICE Word leaky_relu_vjp(Word x, Word g, Word s, Word z) {
        const Word at_zero = P::zero(x), passed = P::positive(x),
                   scaled = ~(passed | (at_zero & P::zero(z)));
        return P::select(passed, g, P::product(scaled, P::select(at_zero, z, s), g) & scaled);
    }

    static RELU_XP_DEVICE Word leaky_relu_slope_vjp(Word x, Word g) {
        const Word scaled = P::negative(x);
        return P::product(scaled, x, g) & scaled;
    }

    static RELU_XP_DEVICE Word clipped_relu(Word x, Word c) {
        return P::select(P::positive(x) & ~P::below(x, c), c, relu(x));
    }

    static RELU_XP_DEVICE Word clipped_relu_grad(Word x, Word c, Word z, Word k) {
        const Word active = P::positive(x);
        return P::select(active & P::below(x, c), P::one(),
                         (z & P::zero(x)) | (k & active & at_ceiling(x, c)));
    }

    static RELU_XP_DEVICE Word clipped_relu_vjp(Word x, Word g, Word c, Word z, Word k) {
        const Word active = P::positive(x), at_zero = P::zero(x) & ~P::zero(z);
        const Word scaled = at_zero | (active & at_ceiling(x, c) & ~P::zero(k));
        return P::select(active & P::below(x, c), g,
                         P::product(scaled, P::select(at_zero, z, k), g) & scaled);
    }

    static RELU_XP_DEVICE Word at_ceiling(Word x, Word c) {
        return ~(P::below(x, c) | P::below(c, x));
    }

    static RELU_XP_DEVICE Word squared_relu(Word x) {
        const Word active = P::positive(x);
        return P::select(active, P::product(active, x, x), relu(x));
    }

    // 2 * x has the bits of x + x.
    static RELU_XP_DEVICE Word squared_relu_grad(Word x) {
        const Word active = P::positive(x);
        return P::product(active, P::two(), x) & active;
    }

    static RELU_XP_DEVICE Word squared_relu_vjp(Word x, Word g) {
        const Word active = P::positive(x);
        return P::product(active, P::product(active, P::two(), x), g) & active;
    }
};

// The names of all rectifiers: EACH is a macro that is applied to every one.
#define RELU_XP_OF_INTEGERS(EACH) EACH(relu)
#define RELU_XP_FUNCTIONS(EACH) \
    RELU_XP_OF_INTEGERS(EACH) EACH(relu_grad) EACH(relu_vjp) \
    EACH(leaky_relu) EACH(leaky_relu_grad) EACH(leaky_relu_vjp) EACH(leaky_relu_slope_vjp) \
    EACH(clipped_relu) EACH(clipped_relu_grad) EACH(clipped_relu_vjp) \
    EACH(squared_relu) EACH(squared_relu_grad) EACH(squared_relu_vjp)
