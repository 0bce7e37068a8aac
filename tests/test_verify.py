"""The verifier itself: that its expectations are the definition's, and that it can fail."""

import functools
import itertools
import json
import sys

import numpy as np
import pytest

from relu_xp import __main__, _machine, reference, verify
from relu_xp._backends import numpy as backend
from relu_xp.verify import _cases, _engine, _exceptions, _expected

HERE = _machine.Target("numpy", backend, "cpu")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", verify.FUNCTIONS)
def test_wide_expectations_are_the_definition(function, dtype):
    for case in _cases.cases(np.dtype(dtype), (function,)):
        if case.kind != "values":
            continue
        s, z = (float(dtype(scalar)) for scalar in (case.slope, case.grad_at_zero))
        define = functools.partial(getattr(reference, function), grad_at_zero=z)
        if function.startswith("leaky"):
            define.keywords["negative_slope"] = s
        for arrays in _cases.values(case):
            some = tuple(a[::7] for a in arrays)
            rows = zip(*(a.tolist() for a in some), strict=True)
            with np.errstate(all="ignore"):
                want = np.array([define(*row) for row in rows]).astype(dtype)
            assert verify.same_bits(verify.expected(function, some, case.slope, case.grad_at_zero), want).all()


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in verify.dtypes() if dtype.itemsize == 2 and dtype.kind not in "iu"]
)
def test_rounding_by_search_is_the_processors(dtype):
    values = np.concatenate([_cases.sample(np.dtype(np.float32)).astype(np.float64), [65519.99, 65520.0, 2.0**-25]])
    with np.errstate(all="ignore"):
        # Of float32 values, to float16 by the processor and to bfloat16 by ml_dtypes, one cast is one rounding.
        exact = values.astype(np.float32).astype(np.float64) == values
        assert verify.same_bits(_expected.rounded(values, dtype), values.astype(np.float32).astype(dtype))[exact].all()


def swallows_nan(right, x, *rest):
    return np.where(np.isnan(x), np.zeros_like(x), right(x, *rest))


def greater_for_greater_or_equal(right, x, *rest):
    return np.where(x == 0, np.zeros_like(x), right(x, *rest))


def multiplies_by_a_mask(right, x, g, *rest):
    return g * (x >= 0).astype(x.dtype)


def rounds_the_slope_too_late(right, x, s, *rest):
    return np.where(x < 0, (x.astype(np.float64) * s).astype(x.dtype), x)


def gives_minus_zero(right, x, *rest):
    return np.where(x < 0, -np.zeros_like(x), right(x, *rest))


def forgets_the_tail(right, x, *rest):
    result = np.array(right(x, *rest))
    if x.ndim == 1 and x.size > 16:
        result[x.size // 16 * 16 :] = 1
    return result


def flushes_subnormals(right, x, *rest):
    return right(np.where(np.abs(x) < np.finfo(x.dtype).smallest_normal, np.copysign(0, x).astype(x.dtype), x), *rest)


def takes_the_larger(right, x, s, *rest):
    return np.maximum(x, x.dtype.type(s) * x)


def leaves_out_stale(right, x, *rest):
    right(x, *rest[:-1], None)
    return rest[-1] if rest[-1] is not None else right(x, *rest)


def reads_what_it_has_written(right, x, *rest):
    out = rest[-1]
    if out is None:
        return right(x, *rest)
    for i in range(x.size):
        out[i] = right(x[i : i + 1], *rest[:-1], None)[0]
    return out


def ignores_strides(right, x, *rest):
    return right(x if x.flags.c_contiguous or x.base is None else np.resize(x.base, x.shape), *rest)


def multiplies_where_it_should_select(right, x, g, s, z, out):
    with np.errstate(all="ignore"):
        return np.where(x == 0, x.dtype.type(z) * g, right(x, g, s, z, None))


def gives_another_dtype(right, x, *rest):
    return right(x, *rest).astype(np.float64)


def raises(right, x, *rest):
    raise RuntimeError("out of order")


WRONG = [
    (swallows_nan, "relu", "float32", "nan"),
    (greater_for_greater_or_equal, "relu_grad", "float32", "got 0.0 (0x00000000), want 1.0 (0x3f800000)"),
    (multiplies_by_a_mask, "relu_vjp", "float64", "want 0.0"),
    (rounds_the_slope_too_late, "leaky_relu", "float16", "negative_slope=0.01"),
    (gives_minus_zero, "relu", "float32", "got -0.0 (0x80000000), want 0.0 (0x00000000)"),
    (forgets_the_tail, "leaky_relu_grad", "float32", "lengths"),
    (flushes_subnormals, "leaky_relu", "float32", "leaky_relu(float32"),
    (takes_the_larger, "leaky_relu", "float32", "negative_slope="),
    (leaves_out_stale, "relu", "float32", "out: in place"),
    (reads_what_it_has_written, "leaky_relu", "float64", "out: "),
    (ignores_strides, "relu", "float32", "layout: strided"),
    (multiplies_where_it_should_select, "leaky_relu_vjp", "float16", "grad_at_zero=0"),
    (gives_another_dtype, "leaky_relu_grad", "float32", "got float64["),
    (raises, "relu_vjp", "float32", "got RuntimeError: out of order"),
]


@pytest.mark.parametrize(("wrong", "function", "dtype", "says"), WRONG, ids=lambda p: getattr(p, "__name__", None))
def test_a_wrong_kernel_is_caught_by_the_quick_run(monkeypatch, capsys, wrong, function, dtype, says):
    pytest.importorskip("rich", reason="rich: not installed")
    command = ["verify", "--quick", "--backend", "numpy", "--function", function, "--dtype", dtype]
    monkeypatch.setenv("COLUMNS", "300")
    assert __main__.main(command) == 0
    monkeypatch.setattr(backend, function, functools.partial(wrong, getattr(backend, function)))
    capsys.readouterr()
    assert __main__.main(command) == 1
    printed = capsys.readouterr().out
    assert f"{function}({dtype}, " in printed
    assert says in printed


def test_an_exception_lets_nothing_else_pass(monkeypatch):
    """What XLA may do on a CPU, NumPy may not, nor XLA on a GPU; and a flush explains no other difference."""
    case = next(_cases.cases(np.dtype(np.float32), ("leaky_relu",)))
    right = backend.leaky_relu
    flushed = functools.partial(flushes_subnormals, right)

    def tally_of(target, kernel):
        monkeypatch.setattr(backend, "leaky_relu", kernel)
        tally = verify.Tally()
        _engine.check(target, case, tally)
        return tally

    assert tally_of(HERE, flushed).mismatches > 0
    assert tally_of(_machine.Target("jax", backend, "cuda:0"), flushed).mismatches > 0
    on_cpu = tally_of(_machine.Target("jax", backend, "cpu:0"), flushed)
    assert (on_cpu.mismatches, list(on_cpu.excepted)) == (0, ["XLA flushes subnormals"])
    assert on_cpu.excepted["XLA flushes subnormals"] > 0

    def doubled(x, *rest):  # wrong for subnormals in another way, and for the smallest normal
        tiny = np.abs(x) <= np.finfo(np.float32).smallest_normal
        return np.where(tiny, right(x, *rest) * 4, right(x, *rest))

    assert tally_of(_machine.Target("jax", backend, "cpu:0"), doubled).mismatches > 0
    assert tally_of(_machine.Target("jax", backend, "cpu:0"), functools.partial(swallows_nan, right)).mismatches > 0


def test_a_zero_may_lose_its_sign_only_where_onnxruntime_selects_a_minus_zero(monkeypatch):
    right = backend.leaky_relu
    monkeypatch.setattr(backend, "leaky_relu", lambda *arguments: right(*arguments) + np.float32(0))  # -0 + 0 is +0
    tallies = {}
    for case in _cases.cases(np.dtype(np.float32), ("leaky_relu",)):
        if case.kind == "values":
            tally = tallies[str(case.slope)] = verify.Tally()
            _engine.check(_machine.Target("ndonnx", backend, "cpu"), case, tally)
    assert tallies["-0.0"].mismatches == 0
    assert tallies["-0.0"].excepted["onnxruntime's Where gives +0 for -0"] > 0
    assert tallies["0.01"].mismatches > 0
    assert not any(tallies["0.01"].excepted.values())


def test_integers_have_relu_alone():
    assert [case.function for case in _cases.cases(np.dtype(np.int8))] == ["relu"]
    assert not list(_cases.cases(np.dtype(np.int8), ("leaky_relu",)))


def test_without_ml_dtypes(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert "bfloat16" not in [dtype.name for dtype in verify.dtypes()]
    command = ["verify", "--quick", "--backend", "numpy", "--function", "relu", "--dtype", "bfloat16"]
    assert __main__.main(command) == 2
    assert "bfloat16: ml_dtypes is not installed" in capsys.readouterr().out
    assert __main__.main([*command, "int8"]) == 2
    assert __main__.main(command[:-2]) == 0


def test_exceptions_are_named_once():
    assert [each.name for each in _exceptions.EXCEPTIONS] == [
        "XLA flushes subnormals",
        "onnxruntime's Where gives +0 for -0",
    ]


def test_missing_backend_exits_with_2(capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    assert __main__.main(["verify", "--backend", "numpy", "abacus"]) == 2
    assert "abacus: no such backend here; there are " in capsys.readouterr().out
    assert __main__.main(["verify", "--backend", "numpy", "--device", "cuda:7"]) == 2
    assert "numpy: is on cpu here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--peers", "--backend", "numpy"], "--peers takes no --backend"),
        (["--exhaustive", "--dtype", "float16"], "--exhaustive is about float32"),
        (["--function", "leaky_relu", "--dtype", "int8"], "no such cases: only relu takes integers"),
    ],
)
def test_options_that_contradict_each_other(capsys, options, says):
    with pytest.raises(SystemExit) as stop:
        __main__.main(["verify", *options])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_json_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    with pytest.raises(SystemExit) as stop:
        __main__.main(["verify", "--json", str(tmp_path / "none" / "found.json")])
    assert stop.value.code == 2
    assert "--json: " in capsys.readouterr().err


def test_interrupted_anywhere(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich: not installed")

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(_machine, "survey", interrupt)
    assert __main__.main(["info"]) == 130
    assert "Interrupted." in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--function", "gelu"], ["--dtype", "float31"]])
def test_unknown_names_are_refused(capsys, option):
    pytest.importorskip("rich", reason="rich: not installed")
    with pytest.raises(SystemExit) as stop:
        __main__.main(["verify", *option])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_json(tmp_path):
    pytest.importorskip("rich", reason="rich: not installed")
    file = tmp_path / "found.json"
    options = ["--quick", "--backend", "numpy", "--dtype", "float16", "--function", "relu", "--json", str(file)]
    assert __main__.main(["verify", *options]) == 0
    [target] = json.loads(file.read_text())["targets"]
    assert target["backend"] == "numpy"
    assert target["dtypes"]["float16"]["mismatches"] == 0
    assert target["dtypes"]["float16"]["values"] >= 65536


def test_an_interrupted_sweep_says_what_was_covered(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    from relu_xp.verify import _report

    def interrupted(target, function, tally, chunk):
        steps = verify.sweep(target, function, tally, chunk=1 << 10)
        yield next(steps)
        yield next(steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(_report, "sweep", interrupted)
    monkeypatch.setenv("COLUMNS", "300")
    command = ["verify", "--exhaustive", "--backend", "numpy", "--dtype", "float32", "--function", "relu"]
    assert __main__.main(command) == 130
    printed = capsys.readouterr().out
    assert "Covered: the cases in the tables, and 2,048 of 2**32 float32 through relu on numpy." in printed


def test_a_sweep_to_the_end(monkeypatch, tmp_path, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    from relu_xp.verify import _report

    def short(target, function, tally, chunk):
        yield from itertools.islice(verify.sweep(target, function, tally, chunk=1 << 10), 2)

    monkeypatch.setattr(_report, "sweep", short)
    file = tmp_path / "found.json"
    command = ["verify", "--exhaustive", "--backend", "numpy", "--dtype", "float32", "--json", str(file)]
    assert __main__.main([*command, "--function", "relu", "relu_vjp"]) == 0
    said = capsys.readouterr().out
    assert "equal the definition, bit for bit." in said
    assert "Interrupted" not in said
    [target] = json.loads(file.read_text())["targets"]
    assert target["dtypes"]["float32, sweep: relu"]["values"] == 2048
    assert target["dtypes"]["float32, sweep: relu_vjp"]["values"] == 2048


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """What other libraries make of the cases, by the command: those that are installed here."""
    pytest.importorskip("rich", reason="rich: not installed")
    file = tmp_path_factory.mktemp("verify") / "peers.json"
    assert __main__.main(["verify", "--peers", "--json", str(file)]) == 0
    found = json.loads(file.read_text())["peers"]
    return {(each["peer"], each["function"], each["dtype"]): each["reasons"] for each in found}


def test_a_peer_that_breaks_is_named_with_its_reason(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    from relu_xp import _peers
    from relu_xp.verify import _report

    def absent(*arguments):
        raise ImportError("No module named 'scipy'")

    def broken(*arguments):
        raise ValueError("no such thing\nand more")

    monkeypatch.setitem(_peers.PEERS, "numpy", {"absent": absent, "broken": broken})
    monkeypatch.setattr(_machine, "choose", lambda *_: [HERE])
    monkeypatch.setattr(_report.data, "FUNCTIONS", ("relu",))
    assert __main__.main(["verify", "--peers"]) == 0
    said = capsys.readouterr().out
    assert "NumPy idioms, on the same cases" in said
    assert "absent: No module named 'scipy'" in said
    assert "broken, relu of float16: ValueError: no such thing" in said


def test_peers_differ_where_they_are_known_to(peers):
    """What was measured of each, so that the table can be believed; jax and torch only where they are installed."""
    assert not peers["np.maximum(x, 0)", "relu", "float32"]
    assert peers["x > 0, cast", "relu_grad", "float16"] == {"convention: derivative at 0": 2}
    assert peers["g * (x > 0)", "relu_vjp", "float32"]["a NaN is made, by 0 * inf"] > 0
    assert peers["x * (x > 0)", "relu", "float32"]["sign of zero"] > 0
    assert peers["np.maximum(x, s*x)", "leaky_relu", "float32"]["slope outside (0, 1]"] > 0
    if ("jax.nn, jit", "relu", "float32") in peers:
        assert set(peers["jax.nn, jit", "relu", "float32"]) <= {"subnormals flushed"}
        assert not peers["jax.nn, jit", "leaky_relu", "float16"]
        assert peers["jax.nn, jit(vjp)", "relu_grad", "float16"] == {"convention: derivative at 0": 2}
    if ("torch.nn.functional", "relu", "float32") in peers:
        reasons = peers["torch.nn.functional", "leaky_relu", "float16"]
        assert reasons["convention: slope not rounded to the dtype first"] > 7000
        assert peers["torch.ops.aten", "relu_grad", "float32"]["derivative at NaN"] > 0
    if ("keras.ops, numpy", "relu", "float32") in peers:
        assert peers["keras.ops, numpy", "leaky_relu", "float32"]["slope outside (0, 1]"] > 0
    if ("thinc", "relu", "float16") in peers:
        assert peers["thinc", "relu", "float16"]["sign of zero"] > 0
    assert not any(reasons.get("other") for reasons in peers.values())
