"""The statements as SMT-LIB scripts, each unsatisfiable if it holds.

The statements on the texts are about two arbitrary operations, add and mul. Only a few facts about
them are given: a product with 1 is the other factor, and so on. The lemmas state, in the same
words, that IEEE's sum and product have these properties. So a text that is proved for add and mul
is proved for IEEE's operations, and no solver has to multiply out two products to see that they are
equal.
"""

from proof._texts import Format, Text, both, definition, names

from relu_xp._functions import Function

_WORDS = """(set-logic ALL)
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
(define-fun nan () Number (_ NaN {e} {s}))
(define-fun unequal ((a Number) (b Number)) Bool (not (fp.eq a b)))
(define-fun finite ((a Number)) Bool (not (or (fp.isNaN a) (fp.isInfinite a))))

; The primitives, as the head of rectifiers.hpp describes them.
(define-fun mask ((b Bool)) Word (ite b ones zeros))
(define-fun positive ((w Word)) Word (mask (fp.gt (value w) null)))
(define-fun negative ((w Word)) Word (mask (fp.lt (value w) null)))
(define-fun zero ((w Word)) Word (mask (fp.eq (value w) null)))
(define-fun signed_number ((w Word)) Word
    (mask (or (fp.lt (value w) null) (and (fp.isZero (value w)) (fp.isNegative (value w))))))
(define-fun below ((v Word) (w Word) (any Word)) Word
    (ite (and (fp.gt (value v) null) (fp.gt (value w) null))
        (mask (fp.lt (value v) (value w))) any))
"""

_ANY_OPERATIONS = """
(declare-fun some_sum (Number Number) Number)
(declare-fun some_product (Number Number) Number)
"""
_ANY_EXCEPTION = """
(declare-fun some_sum_raises (Number Number) Bool)
(declare-fun some_product_raises (Number Number) Bool)
"""
ANY = _ANY_OPERATIONS + _ANY_EXCEPTION

_IEEE_OPERATIONS = """
(define-fun some_sum ((a Number) (b Number)) Number (fp.add RNE a b))
(define-fun some_product ((a Number) (b Number)) Number (fp.mul RNE a b))
"""
# Overflow, or an invalid operation: the result is an infinity, or a NaN, and no operand is one.
_IEEE_EXCEPTION = """
(define-fun raises ((a Number) (b Number) (r Number)) Bool
    (and (TEST r) (not (TEST a)) (not (TEST b)) (not (fp.isNaN a)) (not (fp.isNaN b))))
(define-fun some_sum_raises ((a Number) (b Number)) Bool (raises a b (fp.add RNE a b)))
(define-fun some_product_raises ((a Number) (b Number)) Bool (raises a b (fp.mul RNE a b)))
"""
IEEE = _IEEE_OPERATIONS + _ANY_EXCEPTION
OVERFLOW, INVALID = (
    _IEEE_OPERATIONS + _IEEE_EXCEPTION.replace("TEST", test)
    for test in ("fp.isInfinite", "fp.isNaN")
)

# The facts about add and mul. A quiet NaN raises nothing; nor does an exact operation: 0 + 0,
# 1 + 1, a product with 1, and a doubling that does not overflow. So where add and mul raise nothing
# here, IEEE's operations raise no underflow either.
_KNOWN = """
(define-fun either_nan ((a Number) (b Number)) Bool (or (fp.isNaN a) (fp.isNaN b)))
(define-fun both_are ((a Number) (b Number) (c Number)) Bool (and (= a c) (= b c)))
(define-fun in_order ((a Number) (b Number)) Bool
    (or (fp.lt a b) (and (fp.eq a b) (or (fp.isNegative a) (= a b)))))

(define-fun add ((a Number) (b Number)) Number
    (ite (either_nan a b) nan (ite (both_are a b one) two (some_sum a b))))
(define-fun mul ((a Number) (b Number)) Number
    (ite (either_nan a b) nan
    (ite (= a two) (add b b) (ite (= b two) (add a a)
    (ite (= a one) b (ite (= b one) a
    (ite (in_order a b) (some_product a b) (some_product b a))))))))

(define-fun add_raises ((a Number) (b Number)) Bool
    (ite (or (either_nan a b) (both_are a b one) (both_are a b null)) false (some_sum_raises a b)))
(define-fun mul_raises ((a Number) (b Number)) Bool
    (ite (either_nan a b) false
    (ite (= a two) (add_raises b b) (ite (= b two) (add_raises a a)
    (ite (or (= a one) (= b one)) false
    (ite (in_order a b) (some_product_raises a b) (some_product_raises b a)))))))
"""


def _script(format: Format, operations: str, *lines: str) -> str:
    words = (_WORDS + operations + _KNOWN).format(
        e=format.exponent,
        s=format.significand,
        bits=format.bits,
        zeros=format.word(0),
        ones=format.word((1 << format.bits) - 1),
        one=format.word(((1 << (format.exponent - 1)) - 1) << (format.significand - 1)),
        two=format.word(1 << (format.bits - 2)),
    )
    return "\n".join([words, *lines])


def statement(
    function: Function, text: Text, format: Format, operations: str = ANY, flags: bool = True
) -> str:
    """For every input, the text gives the definition's result and raises its exceptions."""
    lines = []
    for i, name in enumerate(names(function)):
        lines += [
            f"(declare-const {name}.bits Word)",
            f"(define-fun {name} () Number (value {name}.bits))",
        ]
        lines += [f"(define-fun arg{i} () Word {name}.bits)"]
    for each in function.scalars:
        if not each.may_be_array:  # an array's values are not checked
            lines.append(f"(assert (finite {each.name}))")
        if each.above_zero:
            lines.append(f"(assert (fp.gt {each.name} null))")
    lines += [*definition(function, format), *text.lines]
    claim = "(=> {when} (and (= {result} expected) {masks} (= {raised} expected_raised)))"
    if not flags:
        claim = "(=> {when} (= {result} expected))"
    claims = both(claim.format(**end) for end in text.ends)
    return _script(format, operations, *lines, f"(assert (not {claims}))")


def lemmas(format: Format) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By title, a script and its solvers: IEEE's operations meet the facts about add and mul."""
    ab = [
        f"(declare-const {a}.bits Word)\n(define-fun {a} () Number (value {a}.bits))" for a in "ab"
    ]
    results = {"add": "(fp.add RNE a b)", "mul": "(fp.mul RNE a b)"}
    same = both(f"(= ({name} a b) {result})" for name, result in results.items())
    alike = both(
        f"(= ({name}_raises a b) (raises a b {result}))" for name, result in results.items()
    )
    wide = f"((_ to_fp {format.exponent + 1} {format.significand}) RNE "
    doubled = f"(fp.mul RNE {wide}two) {wide}a))"
    exact = f"(let ((r (fp.add RNE a a))) (=> (finite r) (= {wide}r) {doubled})))"
    # z3 comes last: it does not multiply float64 out in time.
    solvers = tuple(sorted(format.solvers, key="bitwuzla cvc5 z3".index))
    found = {
        "IEEE addition and multiplication have the facts that the rows below use": (IEEE, same),
        "the same facts say exactly when they overflow": (OVERFLOW, alike),
        "the same facts say exactly when they are invalid": (INVALID, alike),
        "x + x is exact unless it overflows": (IEEE, exact),
    }
    scripts = {
        title: (_script(format, operations, *ab, f"(assert (not {claim}))"), solvers)
        for title, (operations, claim) in found.items()
    }
    for wider, exponent, significand in (("float32", 8, 24), ("float64", 11, 53)):
        if 2 * format.significand <= significand:
            once = _rounded_once(format, exponent, significand)
            # For float16, cvc5 takes minutes.
            able = ("bitwuzla", "cvc5") if format.name == "bfloat16" else ("bitwuzla",)
            scripts[f"a product in {wider}, rounded back, is rounded once"] = once, able
    return scripts


def _rounded_once(format: Format, exponent: int, significand: int) -> str:
    """A product in a wider format is rounded once. No sort is named: bitwuzla lacks bfloat16's."""
    narrow = f"(_ to_fp {format.exponent} {format.significand})"
    wide = f"(_ to_fp {exponent} {significand})"
    lines = [f"(declare-const {a}.bits (_ BitVec {format.bits}))" for a in "ab"]
    a, b = (f"({narrow} {a}.bits)" for a in "ab")
    by_wider = f"({narrow} RNE (fp.mul RNE ({wide} RNE {a}) ({wide} RNE {b})))"
    return "\n".join(
        ["(set-logic ALL)", *lines, f"(assert (not (= (fp.mul RNE {a} {b}) {by_wider})))"]
    )
