"""The statements: what a text computes is what the definition says, for every input, in one format."""

from _texts import Format, Text, both, definition, names
from relu_xp._functions import Function

# A number's format is (e, s); a word holds its bits.
_PREAMBLE = """(set-logic {logic})
(define-sort Word () (_ BitVec {bits}))
(define-sort Number () (_ FloatingPoint {e} {s}))
(define-fun value ((w Word)) Number ((_ to_fp {e} {s}) w))
(define-fun zeros () Word {zeros})
(define-fun ones () Word {ones})
(define-fun one.bits () Word {one})
(define-fun two.bits () Word {two})
(define-fun null () Number (value zeros))
(define-fun one () Number (value one.bits))
(define-fun two () Number (value two.bits))
(define-fun finite ((a Number)) Bool (not (or (fp.isNaN a) (fp.isInfinite a))))

; The primitives of rectifiers.hpp, as it describes them.
(define-fun mask ((b Bool)) Word (ite b ones zeros))
(define-fun positive ((w Word)) Word (mask (fp.gt (value w) null)))
(define-fun negative ((w Word)) Word (mask (fp.lt (value w) null)))
(define-fun zero ((w Word)) Word (mask (fp.eq (value w) null)))
(define-fun signed_number ((w Word)) Word
    (mask (or (fp.lt (value w) null) (and (fp.isZero (value w)) (fp.isNegative (value w))))))
(define-fun below ((v Word) (w Word) (any Word)) Word
    (ite (and (fp.gt (value v) null) (fp.gt (value w) null)) (mask (fp.lt (value v) (value w))) any))
"""

IEEE = """
(define-fun add ((a Number) (b Number)) Number (fp.add RNE a b))
(define-fun mul ((a Number) (b Number)) Number (fp.mul RNE a b))
"""

# Any two operations of which no more is known than the lemmas say.
ANY = """
(declare-fun some_sum (Number Number) Number)
(declare-fun some_product (Number Number) Number)
(define-fun add ((a Number) (b Number)) Number (some_sum a b))
(define-fun mul ((a Number) (b Number)) Number
    (ite (or (fp.isNaN a) (fp.isNaN b)) (_ NaN {e} {s})
    (ite (= a one) b (ite (= b one) a
    (ite (= a two) (add b b) (ite (= b two) (add a a)
    (ite (in_order a b) (some_product a b) (some_product b a))))))))
"""

# Whether an operation raises an exception, whichever.
_FLAGS = """
(declare-fun some_sum_raises (Number Number) Bool)
(declare-fun some_product_raises (Number Number) Bool)
(define-fun in_order ((a Number) (b Number)) Bool
    (or (fp.lt a b) (and (fp.eq a b) (or (fp.isNegative a) (= a b)))))
(define-fun raises_sum ((a Number) (b Number)) Bool
    (and (not (fp.isNaN a)) (not (fp.isNaN b)) (not (and (= a null) (= b null))) (some_sum_raises a b)))
(define-fun raises ((a Number) (b Number)) Bool
    (ite (or (fp.isNaN a) (fp.isNaN b) (= a one) (= b one)) false
    (ite (= a two) (raises_sum b b) (ite (= b two) (raises_sum a a)
    (ite (in_order a b) (some_product_raises a b) (some_product_raises b a))))))
"""


def preamble(format: Format, arithmetic: str, logic: str = "ALL") -> str:
    """What the lines of every text are made of."""
    return (_PREAMBLE + _FLAGS + arithmetic).format(
        logic=logic, e=format.exponent, s=format.significand, bits=format.bits, zeros=format.word(0),
        ones=format.word((1 << format.bits) - 1), one=format.word(format.one), two=format.word(format.two),
    )


def statement(function: Function, text: Text, format: Format, arithmetic: str, *, flags: bool = True) -> str:
    """A script that is unsatisfiable if a text computes the definition for every input, and raises what it raises."""
    lines = [preamble(format, arithmetic)]
    for i, name in enumerate(names(function)):
        lines += [f"(declare-const {name}.bits Word)", f"(define-fun {name} () Number (value {name}.bits))"]
        lines += [f"(define-fun arg{i} () Word {name}.bits)"]
    for each in function.scalars:
        if not each.may_be_array:  # an array's elements may be infinite or NaN
            lines.append(f"(assert (finite {each.name}))")
        if each.above_zero:
            lines.append(f"(assert (fp.gt {each.name} null))")
    lines += [*definition(function, format), *text.lines]
    wanted = [
        "(=> {when} (and (= {result} expected) {rest}))".format(
            rest="(= {raised} expected_raised) {masks}".format(**end) if flags else "true", **end
        )
        for end in text.ends
    ]
    return "\n".join([*lines, f"(assert (not {both(wanted)}))"])
