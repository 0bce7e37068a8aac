"""The verifier itself: that its expectations are the definition's, and that it can fail."""

import gc
import itertools
import json
import sys
import weakref

import numpy as np
import pytest

import relu_xp
from relu_xp import __main__, _dispatch, _survey, reference, verify
from relu_xp._backends import numpy as backend
from relu_xp._functions import FUNCTIONS, LEAKY_RELU, RELU, Function, Scalar
from relu_xp.verify import _autodiff, _cases, _engine, _exceptions, _expected
from relu_xp.verify._faults import KINDS

HERE = _survey.Target("numpy", backend, "cpu")


EVERY = FUNCTIONS.values()


def words(text):
    """A command line as a list."""
    return text.split()


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in verify.dtypes() if dtype.kind not in "iu"], ids=str
)
@pytest.mark.parametrize("function", EVERY, ids=str)
def test_the_paths_are_the_definition(function, dtype):
    """Both ways to the expected values agree: value by value, and by the definition's paths."""
    for case in _cases.cases(dtype, (function,)):
        if case.kind != _cases.VALUES:
            continue
        scalars = {
            each.name: _expected.rounded(case.scalars[each.name], dtype)
            for each in function.scalars
        }
        values = {
            **dict(zip(function.arrays, (a[::7] for a in _cases.values(case)), strict=True)),
            **scalars,
        }
        with np.errstate(all="ignore"):
            by_paths = _expected._by_paths(function, values)
            if _expected._rounds_once(function):
                want = _expected._by_definition(function, values)
            else:  # by scalars of the dtype, which round every operation
                define = getattr(reference, function.name)
                rows = zip(*(values[name] for name in function.arrays), strict=True)
                want = np.array([define(*row) for row in rows], dtype)
            assert verify.same_bits(by_paths, want).all()


def test_a_new_function_needs_nothing_in_the_verifier(monkeypatch):
    """Paths are found in any definition, and an operation is rounded before the next."""

    def between(x, cotangent, /, ceiling=6.0, *, grad_at_ceiling=0.0):
        if 0.0 < x < ceiling:
            return (x + x) * cotangent
        if x != ceiling or grad_at_ceiling == 0.0:
            return -1.0 * 0.0
        return cotangent - grad_at_ceiling

    monkeypatch.setattr(reference, "between", between, raising=False)
    scalars = (Scalar("ceiling", 6.0), Scalar("grad_at_ceiling", 0.0))
    function = Function("between", "between", "vjp", scalars)
    assert len(_expected.paths(function)) == 7
    f4 = np.dtype(np.float32)
    x, g = (
        a.ravel()
        for a in np.meshgrid(*2 * [np.array([-1, 0, 5.5, 6, 7, np.nan, np.inf, 3e38], f4)])
    )
    for ceiling, at in itertools.product((6.0, 0.1, np.inf), (0.0, 0.5)):
        given = {"ceiling": np.float32(ceiling), "grad_at_ceiling": np.float32(at)}
        with np.errstate(all="ignore"):
            want = np.array(
                [between(*row, **given) for row in zip(x, g, strict=True)], f4
            )  # NumPy's own arithmetic
        assert verify.same_bits(verify.expected(function, (x, g), given), want).all()
    half = np.array([60000, 5], np.float16)
    result = verify.expected(
        function, (half, np.array([0.5, 0.5], np.float16)), {"ceiling": 65504, "grad_at_ceiling": 0}
    )
    assert result.tolist() == [np.inf, 5.0]  # the sum is infinite in float16

    monkeypatch.setattr(reference, "between", lambda x, g, /, **_: g if x else x)
    _expected.paths.cache_clear()
    with pytest.raises(TypeError):  # what it can't follow it does not guess
        verify.expected(function, (x, g), given)
    _expected.paths.cache_clear()


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in verify.dtypes() if dtype.itemsize == 2 and dtype.kind not in "iu"]
)
def test_rounding_by_search_is_the_processors(dtype):
    values = np.concatenate(
        [_cases.sample(np.dtype(np.float32)).astype(np.float64), [65519.99, 65520.0, 2.0**-25]]
    )
    with np.errstate(all="ignore"):
        # Of float32 values, to float16 by the processor and to bfloat16 by ml_dtypes, one cast is
        # one rounding.
        exact = values.astype(np.float32).astype(np.float64) == values
        assert verify.same_bits(
            _expected.rounded(values, dtype), values.astype(np.float32).astype(dtype)
        )[exact].all()


# Each takes the right call, the function, its arrays, its scalars by name, and out; and computes
# something wrong.
def swallows_nan(right, function, arrays, s, out):
    return np.where(np.isnan(arrays[0]), np.zeros_like(arrays[0]), right(function, arrays, s, out))


def greater_for_greater_or_equal(right, function, arrays, s, out):
    return np.where(arrays[0] == 0, np.zeros_like(arrays[0]), right(function, arrays, s, out))


def multiplies_by_a_mask(right, function, arrays, s, out):
    x, g = arrays
    return g * (x >= 0).astype(x.dtype)


def rounds_the_slope_too_late(right, function, arrays, s, out):
    (x,) = arrays
    return np.where(x < 0, (x.astype(np.float64) * s["negative_slope"]).astype(x.dtype), x)


def gives_minus_zero(right, function, arrays, s, out):
    return np.where(arrays[0] < 0, -np.zeros_like(arrays[0]), right(function, arrays, s, out))


def forgets_the_tail(right, function, arrays, s, out):
    result = np.array(right(function, arrays, s, out))
    if result.ndim == 1 and result.size > 16:
        result[result.size // 16 * 16 :] = 1
    return result


def flushes_subnormals(right, function, arrays, s, out):
    tiny = [np.abs(x) < np.finfo(x.dtype).smallest_normal for x in arrays]
    flat = tuple(
        np.where(t, np.copysign(0, x).astype(x.dtype), x) for t, x in zip(tiny, arrays, strict=True)
    )
    return right(function, flat, s, out)


def takes_the_larger(right, function, arrays, s, out):
    (x,) = arrays
    return np.maximum(x, x.dtype.type(s["negative_slope"]) * x)


def leaves_out_stale(right, function, arrays, s, out):
    result = right(function, arrays, s, None)
    return result if out is None else out


def reads_what_it_has_written(right, function, arrays, s, out):
    if out is None:
        return right(function, arrays, s, out)
    for i in range(out.size):
        out[i] = right(function, tuple(a[i : i + 1] for a in arrays), s, None)[0]
    return out


def ignores_strides(right, function, arrays, s, out):
    packed = tuple(
        x if x.flags.c_contiguous or x.base is None else np.resize(x.base, x.shape) for x in arrays
    )
    return right(function, packed, s, out)


def multiplies_where_it_should_select(right, function, arrays, s, out):
    x, g = arrays
    with np.errstate(all="ignore"):
        return np.where(
            x == 0, x.dtype.type(s["grad_at_zero"]) * g, right(function, arrays, s, None)
        )


def gives_another_dtype(right, function, arrays, s, out):
    return right(function, arrays, s, out).astype(np.float64)


def takes_one_slope_for_all(right, function, arrays, s, out):
    slope = s["negative_slope"]
    return right(
        function,
        arrays,
        {**s, "negative_slope": slope if np.ndim(slope) == 0 else slope.ravel()[:1]},
        out,
    )


def raises(right, function, arrays, s, out):
    raise RuntimeError("out of order")


WRONG = [
    (swallows_nan, "relu", "float32", "nan"),
    (
        greater_for_greater_or_equal,
        "relu_grad",
        "float32",
        "got 0.0 (0x00000000), want 1.0 (0x3f800000)",
    ),
    (multiplies_by_a_mask, "relu_vjp", "float64", "want 0.0"),
    (rounds_the_slope_too_late, "leaky_relu", "float16", "negative_slope=0.01"),
    (gives_minus_zero, "relu", "float32", "got -0.0 (0x80000000), want 0.0 (0x00000000)"),
    (forgets_the_tail, "leaky_relu_grad", "float32", "got 1.0 (0x3f800000), want 0.01"),
    (flushes_subnormals, "leaky_relu", "float32", "leaky_relu(float32"),
    (takes_the_larger, "leaky_relu", "float32", "negative_slope="),
    (leaves_out_stale, "relu", "float32", "out: in place"),
    (reads_what_it_has_written, "leaky_relu", "float64", "out: "),
    (ignores_strides, "relu", "float32", "layout: strided"),
    (multiplies_where_it_should_select, "leaky_relu_vjp", "float16", "grad_at_zero=0"),
    (gives_another_dtype, "leaky_relu_grad", "float32", "got float64["),
    (takes_one_slope_for_all, "leaky_relu_vjp", "float32", "negative_slope: one a row"),
    (raises, "relu_vjp", "float32", "got RuntimeError: out of order"),
]


def plant(monkeypatch, wrong, name):
    """Let the NumPy backend compute a function of that name otherwise."""
    right = backend.call

    def by_name(function, arrays, scalars, out):
        return right(
            function, arrays, tuple(scalars[each.name] for each in function.parameters), out
        )

    def call(function, arrays, scalars, out):
        if function.name != name:
            return right(function, arrays, scalars, out)
        return wrong(by_name, function, arrays, function.named(scalars), out)

    monkeypatch.setattr(backend, "call", call)
    for cache in ("_OWNERS",):  # which hold the right one
        if hasattr(_dispatch, cache):
            monkeypatch.setattr(_dispatch, cache, {})


@pytest.mark.parametrize(
    ("wrong", "function", "dtype", "says"), WRONG, ids=lambda p: getattr(p, "__name__", None)
)
def test_a_wrong_kernel_is_caught_by_the_quick_run(
    monkeypatch, capsys, wrong, function, dtype, says
):
    pytest.importorskip("rich", reason="rich: not installed")
    command = ["verify", "--quick", "--backend", "numpy", "--function", function, "--dtype", dtype]
    monkeypatch.setenv("COLUMNS", "300")
    assert __main__.main(command) == 0
    plant(monkeypatch, wrong, function)
    capsys.readouterr()
    assert __main__.main(command) == 1
    printed = capsys.readouterr().out
    assert f"{function}({dtype}, " in printed
    assert says in printed


def test_an_exception_lets_nothing_else_pass():
    """NumPy may not flush, nor XLA on a GPU; and a flush excuses no other difference."""
    single = next(_cases.cases(np.dtype(np.float32), (LEAKY_RELU,)))

    def tally_of(target, wrong, case=single):
        tally = verify.Tally()
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, wrong, LEAKY_RELU.name)
            _engine.run(target, case, tally)
        return tally

    assert tally_of(HERE, flushes_subnormals).mismatches > 0
    assert tally_of(_survey.Target("jax", backend, "cuda:0"), flushes_subnormals).mismatches > 0
    on_cpu = tally_of(_survey.Target("jax", backend, "cpu:0"), flushes_subnormals)
    assert (on_cpu.mismatches, list(on_cpu.excepted)) == (0, ["XLA flushes subnormals"])
    assert on_cpu.excepted["XLA flushes subnormals"] > 0

    half = next(_cases.cases(np.dtype(np.float16), (LEAKY_RELU,)))  # which XLA does not flush
    on_cpu = tally_of(_survey.Target("jax", backend, "cpu:0"), flushes_subnormals, half)
    assert (on_cpu.mismatches > 0, on_cpu.excepted) == (True, {})

    def quadruples(right, function, arrays, s, out):
        """Wrong for subnormals in another way, and for the smallest normal."""
        tiny = np.abs(arrays[0]) <= np.finfo(np.float32).smallest_normal
        return np.where(tiny, right(function, arrays, s, out) * 4, right(function, arrays, s, out))

    assert tally_of(_survey.Target("jax", backend, "cpu:0"), quadruples).mismatches > 0
    assert tally_of(_survey.Target("jax", backend, "cpu:0"), swallows_nan).mismatches > 0


def test_a_zero_may_lose_its_sign_only_where_onnxruntime_selects_a_minus_zero(monkeypatch):
    def loses_signs(right, function, arrays, s, out):
        return right(function, arrays, s, out) + np.float32(0)  # -0 + 0 is +0

    plant(monkeypatch, loses_signs, LEAKY_RELU.name)
    wrong = set()
    for case in _cases.cases(np.dtype(np.float32), (LEAKY_RELU,)):
        if case.kind == _cases.VALUES:
            _engine.run(_survey.Target("ndonnx", backend, "cpu"), case, tally := verify.Tally())
            excepted = tally.excepted["onnxruntime's Where gives +0 for -0"]
            assert excepted > 0 or str(case.scalars["negative_slope"]) != "0.0"
            wrong |= {element.inputs[0] for element in tally.examples}
    assert wrong == {"-0.0 (0x80000000)"}  # x itself, which leaky_relu hands on


@pytest.mark.parametrize("runtime", ["", "onnxruntime"])
def test_a_deviation_of_programs_excuses_no_call(runtime):
    """ONNX's Relu keeps the -0 of x: in onnxruntime only, and not in torch's own results."""
    mode = _autodiff.Mode("a program", None, "values", runtime=runtime)
    case = _cases.Case(RELU, np.dtype(np.float32), RELU.defaults, mode)
    x = np.array([-0.0, 0.0, 1.0], np.float32)
    check = _engine.Check((x,), case.scalars, np.abs(x), None)
    tally = verify.Tally()
    _engine.compare(_survey.Target("torch", backend, "cpu"), case, check, x, tally)
    assert (tally.mismatches, [*tally.excepted.values()]) == ((0, [1]) if runtime else (1, []))


def test_compiled_programs_are_dropped_after_each_function(monkeypatch):
    """A library that compiles every case would else take hundreds of megabytes a dtype."""
    dropped, functions = [], (RELU, LEAKY_RELU)
    monkeypatch.setattr(backend, "forget", lambda: dropped.append(1), raising=False)
    dtypes = [np.dtype(np.float32), np.dtype(np.int8)]
    assert len(list(verify.verify(HERE, dtypes, functions, quick=True))) > len(dropped) == 4


def test_jax_drops_its_compiled_programs(jax):
    target = next(_survey.of("jax"))
    add = jax.jit(lambda x: x + 1)
    add(1.0)
    assert add._cache_size() == 1
    target.backend.forget()
    assert add._cache_size() == 0


def test_examples_are_few_and_of_several_cases():
    """A tally keeps at most five, at most two of them of one case, but counts all."""
    x, tally = np.arange(9, dtype=np.float32), verify.Tally()
    for given in ((0.0,), (0.5,), (1.0,), (2.0,)):
        case = _cases.Case(RELU, x.dtype, given, _cases.VALUES)
        _engine.compare(HERE, case, _engine.Check((x,), case.scalars, x + 1, None), x, tally)
    assert (tally.mismatches, tally.values) == (36, 36)
    cases = [example.case for example in tally.examples]
    assert [cases.count(each) for each in dict.fromkeys(cases)] == [2, 2, 1]
    assert [example.index for example in tally.examples] == [0, 1, 0, 1, 0]


def test_expected_values_leave_no_garbage():
    """Without a reference cycle memory is free at once: a sweep would take gigabytes."""
    gc.collect()
    gc.disable()
    try:
        for function in EVERY:
            x = np.arange(-4, 4, dtype=np.float32)
            kept = weakref.ref(x)
            verify.expected(
                function, (x,) * len(function.arrays), function.named(function.defaults)
            )
            del x
            assert kept() is None
    finally:
        gc.enable()


def test_integers_have_relu_alone():
    assert [case.function for case in _cases.cases(np.dtype(np.int8))] == [RELU]
    assert not list(_cases.cases(np.dtype(np.int8), (LEAKY_RELU,)))


def test_every_pair_of_scalars_is_tried_but_with_minus_zero():
    """At most two differ from their defaults, so that many scalars do not make many more cases."""
    given = [
        case.scalars
        for case in _cases.cases(np.dtype(np.float32), (LEAKY_RELU.vjp,))
        if case.kind == _cases.VALUES
    ]
    assert {"negative_slope": 2.0, "grad_at_zero": 0.5} in given
    texts = [str(each) for each in given]
    assert len(set(texts)) == len(texts) == 5 * 3 + 2
    many = Function(
        "many",
        "many",
        "grad",
        tuple(Scalar(name, values[0]) for name, values in _cases.SCALARS.items()),
    )
    assert len(list(_cases._settings(many))) == 1 + 5 + 3 + 2 + 3  # but one of more than two


def test_without_ml_dtypes(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert "bfloat16" not in [dtype.name for dtype in verify.dtypes()]
    command = words("verify --quick --backend numpy --function relu --dtype bfloat16")
    assert __main__.main(command) == 2
    assert "bfloat16: ml_dtypes is not installed" in capsys.readouterr().out
    assert __main__.main([*command, "int8"]) == 2
    assert __main__.main(command[:-2]) == 0


def test_deviations_are_named_once():
    assert [each.name for each in _exceptions.DEVIATIONS] == [
        "ONNX's Relu and Clip keep -0",
        "XLA flushes subnormals",
        "TensorFlow flushes subnormals",
        "onnxruntime's Where gives +0 for -0",
    ]


def test_missing_backend_exits_with_2(capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    assert __main__.main(["verify", "--backend", "numpy", "abacus"]) == 2
    assert "abacus: no such backend here; there are " in capsys.readouterr().out
    assert __main__.main(["verify", "--backend", "numpy", "--device", "cuda:7"]) == 2
    assert "no device 'cuda:7' here; devices: cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--peers", "--backend", "numpy"], "--peers takes no --backend"),
        (["--exhaustive", "--dtype", "float16"], "--exhaustive is about float32"),
        (
            ["--function", "leaky_relu", "--dtype", "int8"],
            "no such cases: only relu takes integers",
        ),
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

    monkeypatch.setattr(_survey, "survey", interrupt)
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
    command = words("verify --quick --backend numpy --dtype float16 --function relu --json")
    assert __main__.main([*command, str(file)]) == 0
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
    command = words("verify --exhaustive --backend numpy --dtype float32 --function relu")
    assert __main__.main(command) == 130
    printed = capsys.readouterr().out
    assert (
        "Covered: the cases in the tables, and 2,048 of 2**32 float32 through relu on numpy."
        in printed
    )


def test_a_sweep_to_the_end(monkeypatch, tmp_path, capsys):
    pytest.importorskip("rich", reason="rich: not installed")
    from relu_xp.verify import _report

    def short(target, function, tally, chunk):
        yield from itertools.islice(verify.sweep(target, function, tally, chunk=1 << 10), 2)

    monkeypatch.setattr(_report, "sweep", short)
    file = tmp_path / "found.json"
    command = words("verify --exhaustive --backend numpy --dtype float32 --function relu relu_vjp")
    assert __main__.main([*command, "--json", str(file)]) == 0
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
    assert all(each["names"].keys() == each["reasons"].keys() <= {*KINDS} for each in found)
    assert not any(
        kind == "other" and not name for each in found for kind, name in each["names"].items()
    )
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
    monkeypatch.setattr(_survey, "choose", lambda *_: [HERE])
    monkeypatch.setattr(_report, "FUNCTIONS", {"relu": RELU})
    assert __main__.main(["verify", "--peers"]) == 0
    said = capsys.readouterr().out
    assert "NumPy idioms, on the same cases" in said
    assert "absent: No module named 'scipy'" in said
    assert "broken, relu of float16: ValueError: no such thing" in said


def test_peers_differ_where_they_are_known_to(peers):
    """The table says what is known of each; jax and torch only where they are installed."""
    assert not peers["np.maximum(x, 0)", "relu", "float32"]
    assert peers["x > 0, cast", "relu_grad", "float16"] == {"kink": 2}
    assert peers["g * (x > 0)", "relu_vjp", "float32"]["masked_product"] > 0
    assert peers["x * (x > 0)", "relu", "float32"]["zero_sign"] > 0
    assert (
        peers["np.maximum(x, s*x)", "leaky_relu", "float32"]["other"] > 0
    )  # right for 0 < s <= 1 alone
    if ("jax.nn, jit", "relu", "float32") in peers:
        assert set(peers["jax.nn, jit", "relu", "float32"]) <= {"subnormal_flush"}
        assert not peers["jax.nn, jit", "leaky_relu", "float16"]
        assert peers["jax.nn, jit(vjp)", "relu_grad", "float16"] == {"kink": 2}
    if ("torch.nn.functional", "relu", "float32") in peers:
        reasons = peers["torch.nn.functional", "leaky_relu", "float16"]
        assert reasons["slope_rounding"] > 7000
        assert peers["torch.ops.aten", "relu_grad", "float32"]["nan_cotangent"] > 0
    if ("keras.ops, numpy", "relu", "float32") in peers:
        assert peers["keras.ops, numpy", "leaky_relu", "float32"]["other"] > 0
    if ("thinc", "relu", "float16") in peers:
        assert peers["thinc", "relu", "float16"]["zero_sign"] > 0


def planted_in_jax(jax, fault):
    """A leaky ReLU with a fault in what JAX differentiates, its values being right."""
    jnp = jax.numpy

    def value(x, s):
        return jnp.where(x >= 0, x, s * x)

    def right(x, t, s, z):
        return jnp.where(
            x > 0, t, jnp.where(x == 0, jnp.where(z == 0, jnp.zeros_like(t), z * t), s * t)
        )

    rules = {
        "zero": lambda x, t, s, z: jnp.where(x > 0, t, s * t),
        "mask": lambda x, t, s, z: t * (x > 0) + s * t * (x < 0) + z * t * (x == 0),
        "nan": lambda x, t, s, z: jnp.where(jnp.isnan(x), x, right(x, t, s, z)),
        "doubled": lambda x, t, s, z: 2 * right(x, t, s, z),
        "fused": lambda x, t, s, z: (
            t * jnp.where(x > 0, 1, jnp.where(x == 0, z, s)).astype(x.dtype)
        ),
        "unreduced": right,
    }

    def leaky_relu(x, negative_slope=0.01, *, grad_at_zero=1.0):
        s, z = jnp.asarray(negative_slope, x.dtype), jnp.asarray(grad_at_zero, x.dtype)

        @jax.custom_jvp
        def f(x, s):
            return value(x, s)

        @f.defjvp
        def rule(primals, tangents):
            (x, s), (t, dot) = primals, tangents
            negative = x < 0
            by_slope = jnp.where(
                negative, jnp.where(negative, dot, 0) * jnp.where(negative, x, 0), -0.0
            )  # adds nothing
            by_slope = by_slope.astype(x.dtype)
            if fault == "unreduced":  # as if each row had the slope to itself
                by_slope = by_slope * (x.shape[0] if x.ndim > 1 else 1)
            return f(x, s), rules[fault](x, t, s, z) + by_slope

        return f(x, s)

    return leaky_relu


@pytest.mark.parametrize("fault", ["zero", "mask", "nan", "doubled", "fused", "unreduced"])
def test_a_wrong_derivative_is_seen(wanted, monkeypatch, fault):
    jax = wanted("jax")
    target = next(
        each for each in _survey.survey() if isinstance(each, _survey.Target) and each.name == "jax"
    )
    monkeypatch.setattr(relu_xp, LEAKY_RELU.name, planted_in_jax(jax, fault))
    seen = set()
    for case, _, want, call in _autodiff.derivatives(target, np.dtype(np.float32), (LEAKY_RELU,)):
        if case.kind.name == "export":  # a custom_jvp cannot be exported
            continue
        if case.function is LEAKY_RELU.vjp:
            right = verify.same_bits(call(target), want).all()
        else:  # the sign of a zero is not promised
            right = not case.kind.sums or np.array_equal(call(target), want)
        if not right:
            seen.add(case.kind)
    assert seen
    assert any(mode.sums for mode in seen) == (fault == "unreduced")
    if fault == "fused":  # of finite numbers, only where a sum follows
        assert any(mode.adds for mode in seen)
    elif fault != "unreduced":
        assert {"reverse", "vmap", "remat"} <= {mode.name for mode in seen}


TRANSFORMS = {
    "jax": {"vmap", "remat"},
    "torch": {
        "vmap",
        "compiled",
        "export",
        "decomposed export",
        "trace",
        "fx",
        "ONNX, in onnxruntime",
    },
    "mlx": {"reverse"},
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_derivatives_are_right(wanted, name):
    wanted(name)
    targets = [each for each in _survey.survey() if isinstance(each, _survey.Target)]
    target = next(each for each in targets if name in (each.name, each.device))
    modes = _autodiff.modes(target)
    assert TRANSFORMS[name] <= {mode.name for mode in modes}
    tally = verify.Tally()
    _engine.differentiate(target, np.dtype(np.float32), EVERY, tally)
    assert (tally.mismatches, tally.examples) == (0, [])
    assert tally.cases >= 2 * len(modes)


def test_a_torch_derivative_that_is_wrong_is_seen(wanted, monkeypatch):
    torch = wanted("torch")
    target = next(
        each
        for each in _survey.survey()
        if isinstance(each, _survey.Target) and each.name == "torch"
    )
    monkeypatch.setattr(relu_xp, RELU.name, lambda x, *, grad_at_zero=1.0: torch.threshold(x, 0, 0))
    tally = verify.Tally()
    _engine.differentiate(target, np.dtype(np.float32), (RELU,), tally)
    assert tally.mismatches > 0
