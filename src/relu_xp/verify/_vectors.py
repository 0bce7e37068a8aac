"""Writes inputs and expected results as files, for other languages: JSON, .npy, ONNX.

All is made by integer arithmetic and IEEE operations, and NaN has one pattern: so the bytes are the
same everywhere.
"""

import json
import math
import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from relu_xp import reference
from relu_xp._functions import (
    CEILING,
    CLIPPED_RELU,
    FUNCTIONS,
    LEAKY_RELU,
    NEGATIVE_SLOPE,
    RELU,
    Function,
)
from relu_xp.verify import _cases as data
from relu_xp.verify._expected import (
    Array,
    DType,
    bits,
    expected,
    isnan,
    paths,
    patterns,
    rounded,
    widened,
)
from relu_xp.verify._faults import RIVALS, Rival, Wrong, smallest_normal, subnormal

VERSION = 2  # of the files: another one wherever their bytes change
SCHEMA = "vectors.schema.json"
FLAGS = {
    "nan": "an input or the result is NaN; any NaN is as good as another",
    "minus_zero": "an input or the result is -0",
    "kink": "x is 0, or the ceiling",
    "subnormal": "an input or the result is subnormal",
    "overflow": "finite inputs give an infinite result",
    "rounding": "the exact product lies between two numbers of the dtype",
    "mask": "a product with a mask of 0 and 1 gives another result than a selection",
}

Written = tuple[int, int]  # how many files, and bytes


def write(
    out: Path,
    functions: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    *,
    exhaustive: bool = False,
) -> Written:
    """Write a JSON file for each function and dtype, long arrays beside them, and the schema."""
    files = _Files(out)
    for dtype in _dtypes(dtypes):
        inputs = _long(dtype)
        for name, array in zip(("x", "cotangent"), inputs, strict=True):
            files.npy(f"{name}_{dtype.name}.npy", bits(array))
        for function in (FUNCTIONS[name] for name in functions or FUNCTIONS):
            files.text(
                f"{function}_{dtype.name}.json",
                _document(files, function, dtype, inputs, exhaustive),
            )
    files.text(SCHEMA, json.dumps(schema(), indent=1) + "\n")
    return files.written


class _Files:
    """A folder that is written to, and how much was."""

    def __init__(self, out: Path) -> None:
        self.out, self.written = out, (0, 0)
        out.mkdir(parents=True, exist_ok=True)

    def text(self, name: str, text: str) -> None:
        self.bytes(name, text.encode())

    def bytes(self, name: str, content: bytes) -> None:
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.written = self.written[0] + 1, self.written[1] + len(content)

    def npy(self, name: str, array: Array) -> None:
        """Write unsigned integers, little-endian."""
        (self.out / name).parent.mkdir(parents=True, exist_ok=True)
        with (self.out / name).open("wb") as file:
            np.lib.format.write_array(
                file, array.astype(array.dtype.newbyteorder("<")), version=(1, 0)
            )
            self.written = self.written[0] + 1, self.written[1] + file.tell()


def _dtypes(names: Sequence[str] | None) -> Iterator[DType]:
    """Those named, or all floats; without ml_dtypes there is no bfloat16."""
    known = {dtype.name: dtype for dtype in data.dtypes()}
    for name in names or data.FLOATS:
        if name not in known:
            msg = f"{name} needs ml_dtypes; to have it: python3 -m pip install ml_dtypes"
            raise ImportError(msg)
        yield known[name]


def _document(
    files: _Files, function: Function, dtype: DType, inputs: tuple[Array, Array], exhaustive: bool
) -> str:
    """The text of a file, a case a line."""
    every = [case.given for case in data.cases(dtype, (function,)) if case.kind == data.VALUES]
    settings = [
        given
        for given in every
        if sum(map(operator.ne, map(repr, given), map(repr, function.defaults))) < 2
    ]
    groups = [(given, [*_cases(function, dtype, given)]) for given in settings]
    head = {
        "schema": SCHEMA,
        "version": VERSION,
        "function": function.name,
        "dtype": dtype.name,
        "arrays": function.arrays,
        "table": _table(function),
        "flags": FLAGS,
        "cases": sum(len(cases) for _, cases in groups),
    }
    long = []
    for number, given in enumerate(every if exhaustive and dtype.itemsize == 2 else every[:1]):
        due = f"{function}_{dtype.name}{f'_{number}' if number else ''}.npy"
        files.npy(
            due, _pattern(expected(function, inputs[: len(function.arrays)], function.named(given)))
        )
        named = {name: f"{name}_{dtype.name}.npy" for name in function.arrays}
        long.append({"scalars": _scalars(function, dtype, given), **named, "due": due})
    lines = [f' "{name}": {_text(value)}' for name, value in {**head, "long": long}.items()]
    texts = []
    for given, cases in groups:
        rows = ",\n".join(f"   {_text(case)}" for case in cases)
        texts.append(
            f'  {{"scalars": {_text(_scalars(function, dtype, given))}, "cases": [\n{rows}\n  ]}}'
        )
    return "{\n" + ",\n".join([*lines, ' "groups": [\n' + ",\n".join(texts) + "\n ]"]) + "\n}\n"


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _cases(function: Function, dtype: DType, given: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """Every special value, with every special cotangent."""
    scalars: dict[str, Any] = function.named(given)
    x, g = _special(dtype, scalars), _cotangents(dtype)
    arrays = (x,) if len(function.arrays) == 1 else (np.repeat(x, len(g)), np.tile(g, len(x)))
    due = expected(function, arrays, scalars)
    due = _pattern(due).view(dtype)
    call = Wrong(function, arrays, scalars, due, due)
    flags = _flags(call)
    others = [(_name(rival, call), _other(rival, call)) for rival in _conventions(function)]
    for i in range(due.size):
        case: dict[str, Any] = {
            name: _hex(a[i]) for name, a in zip(function.arrays, arrays, strict=True)
        }
        case |= {
            "due": _hex(due[i]),
            "flags": [name for name, where in flags.items() if where[i]],
            "status": "must",
        }
        for name, other in others:
            if _hex(other[i]) != case["due"]:
                case |= {"status": "convention", "rival": name, "rival_due": _hex(other[i])}
                break
        yield case


def _conventions(function: Function) -> list[Rival]:
    """The rival conventions, of those that a family's libraries have the usual one first."""
    usual = NEGATIVE_SLOPE.name if NEGATIVE_SLOPE in function.scalars else 0.0
    return sorted(
        (each for each in RIVALS if each.convention),
        key=lambda each: usual not in each.changed.values(),
    )


def _name(rival: Rival, call: Wrong) -> str:
    """The scalar that makes the convention one's own; or what else it is."""
    for name, value in rival.changed.items():
        return f"{name}={call.scalars.get(value, 0.0) if isinstance(value, str) else value}"
    return rival.kind


def _other(rival: Rival, call: Wrong) -> Array:
    with np.errstate(all="ignore"):
        return _pattern(rival.gives(call)).view(call.due.dtype)


def _flags(call: Wrong) -> dict[str, Array]:
    """Which flags each case has."""
    every = (*call.arrays, call.due)
    dtype, x = call.due.dtype, widened(call.x)
    at_ceiling = CEILING in call.function.scalars and x == widened(
        rounded(call.scalars[CEILING.name], dtype)
    )

    def any_(test: Any, arrays: tuple[Array, ...]) -> Array:
        return np.logical_or.reduce([test(a) for a in arrays])

    infinite = any_(lambda a: ~np.isfinite(widened(a)), call.arrays)
    return {
        "nan": any_(isnan, every),
        "minus_zero": any_(lambda a: (widened(a) == 0) & np.signbit(widened(a)), every),
        "kink": (x == 0) | at_ceiling,
        "subnormal": any_(subnormal, every),
        "overflow": np.isinf(widened(call.due)) & ~infinite,
        "rounding": np.isfinite(widened(call.due)) & ~infinite & _inexact(call),
        "mask": np.logical_or.reduce(
            [
                bits(_other(rival, call)) != bits(call.due)
                for rival in RIVALS
                if rival.kind == "masked_product"
            ]
        ),
    }


def _inexact(call: Wrong) -> Array:
    """Where the definition, run on fractions, gives no number of the dtype."""
    define, dtype = getattr(reference, call.function.name), call.due.dtype
    scalars = {
        each.name: Fraction(float(rounded(call.scalars[each.name], dtype)))
        for each in call.function.scalars
    }
    columns = (widened(a).tolist() for a in (*call.arrays, call.due))
    return np.array(
        [
            all(map(math.isfinite, row))
            and define(*map(Fraction, row[:-1]), **scalars) != Fraction(row[-1])
            for row in zip(*columns, strict=True)
        ]
    )


def _special(dtype: DType, scalars: dict[str, Any]) -> Array:
    """Values of x at which kernels part."""
    least = bits(rounded(smallest_normal(dtype), dtype))
    unit = np.ones_like(least)
    edges = [bits(rounded(size, dtype)) for size in (scalars.get(CEILING.name, 3.0), np.inf)]
    words = [
        unit,
        least - unit,
        least,
        least + unit,
        *(edge + step for edge in edges for step in (-unit, 0 * unit)),
    ]
    words += [edges[0] + unit, bits(rounded(np.nan, dtype))]
    usual = bits(rounded([0.0, 0.01, 0.3, 1.0, 7.0, 11.3, 1000.0], dtype))
    positive = np.concatenate([usual, np.array(words, usual.dtype)])
    sign = np.array(1 << (8 * dtype.itemsize - 1), positive.dtype)
    return _distinct(np.concatenate([positive, positive | sign])).view(dtype)


def _cotangents(dtype: DType) -> Array:
    """Cotangents that show a mask, a rounding and an overflow."""
    largest = (bits(rounded(np.inf, dtype)) - np.ones((), f"u{dtype.itemsize}")).view(dtype)
    return rounded([1, -1, 0, -0.0, 0.3, float(largest), np.inf, -np.inf, np.nan], dtype)


def _distinct(words: Array) -> Array:
    """Each once, in the order in which they are met."""
    return words[np.sort(np.unique(words, return_index=True)[1])]


def _long(dtype: DType) -> tuple[Array, Array]:
    """All values of a small dtype, or specials, powers of two and noise; and as many cotangents."""
    if dtype.itemsize == 2:
        x = patterns(dtype)
    else:
        word = f"u{dtype.itemsize}"
        noise = _pattern(
            (_noise(1 << 12) >> np.uint64(64 - 8 * dtype.itemsize)).astype(word).view(dtype)
        )
        info = np.finfo(dtype)
        exponents = np.arange(info.minexp - info.nmant, info.maxexp, dtype.itemsize // 4)
        powers = bits(np.ldexp(np.ones(1, dtype), exponents).astype(dtype))
        near = np.concatenate([powers, powers - np.array(1, word), powers + np.array(1, word)])
        special = _special(dtype, {CEILING.name: CEILING.default})
        sign = np.array(1 << (8 * dtype.itemsize - 1), word)
        x = np.concatenate([bits(special), near, near | sign, noise]).view(dtype)
    step = next(step for step in range(40503, 1 << 20, 2) if np.gcd(step, x.size) == 1)
    return x, x[(np.arange(x.size) * step + 7) % x.size]


def _noise(count: int) -> Array:
    """Random bits by SplitMix64: those of NumPy's generators may change with its version."""
    z = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _pattern(array: Array) -> Array:
    """The bits, every NaN the same."""
    return np.where(isnan(array), bits(rounded(np.nan, array.dtype)), bits(array))


def _hex(element: Any) -> str:
    size = element.dtype.itemsize
    return f"0x{int(np.asarray(element).view(f'u{size}')):0{2 * size}x}"


def _scalars(function: Function, dtype: DType, given: tuple[float, ...]) -> dict[str, Any]:
    """Those that it computes with: the number, and the bits of what it is rounded to."""
    named: dict[str, Any] = function.named(given)
    rows = ((each.name, named[each.name]) for each in function.scalars)
    return {
        name: {"value": value, "bits": _hex(rounded([value], dtype)[0])} for name, value in rows
    }


_SIGNS = {
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "ge": ">=",
    "gt": ">",
    "add": "+",
    "sub": "-",
    "mul": "*",
}


def _table(function: Function) -> list[dict[str, str]]:
    """The definition, as its own text has it: what holds, and what it then gives."""

    def told(expression: tuple[Any, ...]) -> str:
        kind, *of = expression
        if kind == "input":
            return str(of[0])
        return (
            str(float.fromhex(of[0]))
            if kind == "constant"
            else f"({told(of[0])} {_SIGNS[kind]} {told(of[1])})"
        )

    rows = []
    for run, result in paths(function):
        conditions = [
            f"{'' if yes else 'not '}({told(a)} {_SIGNS[s]} {told(b)})"
            for (s, a, b), yes in run.items()
        ]
        rows.append({"where": " and ".join(conditions) or "always", "gives": told(result)})
    return rows


def schema() -> dict[str, Any]:
    """The JSON schema of the files."""
    word = {"type": "string", "pattern": "^0x([0-9a-f]{4}|[0-9a-f]{8}|[0-9a-f]{16})$"}
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}

    def object_(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        required = [name for name in properties if name not in optional]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    scalars = {
        "type": "object",
        "propertyNames": {
            "enum": sorted({each.name for f in FUNCTIONS.values() for each in f.scalars})
        },
        "additionalProperties": object_({"value": {"type": "number"}, "bits": word}),
    }
    case = object_(
        {
            "x": word,
            "cotangent": word,
            "due": word,
            "flags": {"type": "array", "items": {"enum": [*FLAGS]}, "uniqueItems": True},
            "status": {"enum": ["must", "convention"]},
            "rival": text,
            "rival_due": word,
        },
        ("cotangent", "rival", "rival_due"),
    )
    rival: dict[str, Any] = {"required": ["rival", "rival_due"]}
    none = {"properties": {"rival": False, "rival_due": False}}
    case |= {"if": {"properties": {"status": {"const": "convention"}}}, "then": rival, "else": none}
    long = object_({"scalars": scalars, "x": text, "cotangent": text, "due": text}, ("cotangent",))

    def each(of: Any) -> dict[str, Any]:
        """For every case, and every long array."""
        cases = {"items": {"properties": {"cases": {"items": of}}}}
        return {"properties": {"groups": cases, "long": {"items": of}}}

    alone = [f.name for f in FUNCTIONS.values() if len(f.arrays) == 1]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a rectifier gives: inputs and due results as bits of the dtype",
        **object_(
            {
                "schema": text,
                "version": {"const": VERSION},
                "function": {"enum": [*FUNCTIONS]},
                "dtype": {"enum": [*data.FLOATS]},
                "arrays": texts,
                "table": {"type": "array", "items": object_({"where": text, "gives": text})},
                "flags": {"type": "object", "additionalProperties": text},
                "cases": {"type": "integer", "minimum": 1},
                "long": {"type": "array", "items": long},
                "groups": {
                    "type": "array",
                    "items": object_(
                        {
                            "scalars": scalars,
                            "cases": {"type": "array", "items": case, "minItems": 1},
                        }
                    ),
                },
            }
        ),
        "if": {"properties": {"function": {"enum": alone}}},
        "then": each({"properties": {"cotangent": False}}),
        "else": each({"required": ["cotangent"]}),
    }


# ONNX's operators: of which function, with which scalars, under what name.
_SLOPES = (0.01, 0.0, -0.0, 1.0, 2.0, -0.5, 0.25, 0.3)
OPERATORS: tuple[tuple[Function, str, dict[str, float], str], ...] = (
    (RELU, "Relu", {}, ""),
    *((LEAKY_RELU, "LeakyRelu", {NEGATIVE_SLOPE.name: s}, f"_{s}") for s in (0.01, 0.2, -0.5, 2.0)),
    *((CLIPPED_RELU, "Clip", {CEILING.name: c}, f"_{c}") for c in (6.0, 6.1)),
    (LEAKY_RELU, "PRelu", {}, ""),
)


def write_onnx(
    out: Path,
    functions: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    *,
    exhaustive: bool = False,
) -> Written:
    """Write a folder for each operator and dtype, as ONNX's backend tests have them."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        msg = "--format onnx needs onnx; to have it: python3 -m pip install onnx"
        raise ImportError(msg) from None
    if exhaustive:
        msg = "--exhaustive goes with --format json: ONNX's folders are the same with it"
        raise ValueError(msg)
    known = {name: function.name for function, name, *_ in OPERATORS}
    if others := [name for name in functions or () if name not in known.values()]:
        has = ", ".join(f"{operator} ({name})" for operator, name in known.items())
        msg = f"ONNX has no operator for {', '.join(others)}; it has {has}"
        raise ValueError(msg)
    files = _Files(out)
    for dtype in _dtypes(dtypes):
        for function, name, scalars, suffix in OPERATORS:
            if functions is None or function.name in functions:
                folder = f"test_{name.lower()}{suffix.replace('-', 'minus_')}_{dtype.name}"
                _write_operator(files, folder, function, name, dtype, scalars)
    return files.written


def _write_operator(
    files: _Files,
    folder: str,
    function: Function,
    name: str,
    dtype: DType,
    scalars: dict[str, float],
) -> None:
    from onnx import TensorProto, helper

    x = _long(dtype)[0]
    inputs, attributes = {"x": x}, dict[str, float]()
    given: dict[str, Any] = function.named(function.defaults) | scalars
    if name == "PRelu":
        x = inputs["x"] = x[: x.size // len(_SLOPES) * len(_SLOPES)].reshape(len(_SLOPES), -1)
        given[NEGATIVE_SLOPE.name] = inputs["slope"] = rounded(np.reshape(_SLOPES, (-1, 1)), dtype)
    elif CEILING.name in scalars:
        inputs |= {"min": rounded(0.0, dtype), "max": rounded(scalars[CEILING.name], dtype)}
    elif scalars:  # an attribute is a float32, whatever x is
        attributes["alpha"] = given[NEGATIVE_SLOPE.name] = float(
            np.float32(scalars[NEGATIVE_SLOPE.name])
        )
    due = _pattern(expected(function, (x,), given)).view(dtype)
    kind = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype.name, dtype.name.upper())
    element = getattr(TensorProto, kind)

    def tensor(end: str, a: Array) -> bytes:
        words = bits(a).astype(f"<u{a.dtype.itemsize}").tobytes()
        return helper.make_tensor(end, element, a.shape, words, raw=True).SerializeToString(
            deterministic=True
        )

    def ends(arrays: dict[str, Array]) -> list[Any]:
        return [helper.make_tensor_value_info(end, element, a.shape) for end, a in arrays.items()]

    node = helper.make_node(name, [*inputs], ["y"], **attributes)
    graph = helper.make_graph([node], folder, ends(inputs), ends({"y": due}))
    model = helper.make_model(
        graph, producer_name="relu_xp", opset_imports=[helper.make_opsetid("", 16)], ir_version=8
    )
    files.bytes(f"{folder}/model.onnx", model.SerializeToString(deterministic=True))
    for number, (end, a) in enumerate(inputs.items()):
        files.bytes(f"{folder}/test_data_set_0/input_{number}.pb", tensor(end, a))
    files.bytes(f"{folder}/test_data_set_0/output_0.pb", tensor("y", due))
