"""Libraries that are served by the array API alone: their versions, sparsity and graphs."""

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _survey
from relu_xp._registry import SURVEYED

X = np.array([1.5, -2.0, 0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40], np.float32)
G = np.array([2.0, 3.0, -1.0, 4.0, np.inf, -0.0, 5.0, np.nan], np.float32)


@pytest.mark.parametrize("version", ["2022.12", "2023.12", "2024.12", "2025.12"])
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_every_version_of_the_standard(wanted, name, version):
    strict = wanted("array_api_strict")
    with strict.ArrayAPIStrictFlags(
        api_version=version,
        boolean_indexing=False,
        data_dependent_shapes=False,
        enabled_extensions=(),
    ):
        with np.errstate(invalid="ignore"):  # the definition too multiplies inf by 0
            result = oracle.call(name, strict.asarray(X), strict.asarray(G))
        oracle.assert_same(np.asarray(result), oracle.expected(name, oracle.arrays_of(name, X, G)))


@pytest.mark.parametrize("kind", ["COO", "GCXS"])
def test_sparse_arrays_stay_as_sparse_as_they_are(wanted, kind):
    sparse = wanted("sparse")
    dense = np.array([[-1.0, 0.0, 2.0], [0.0, 0.0, -3.0]])
    x = getattr(sparse, kind).from_numpy(dense)
    assert (relu_xp.relu(x).fill_value, relu_xp.relu(x).nnz) == (0.0, 1)
    assert (relu_xp.leaky_relu(x).fill_value, relu_xp.leaky_relu(x).nnz) == (0.0, 3)
    # A derivative of 1 at zero is 1 where nothing is stored, and says so.
    assert (relu_xp.relu_grad(x).fill_value, relu_xp.relu_grad(x).nnz) == (1.0, 2)
    assert (
        relu_xp.relu_grad(x, grad_at_zero=0.0).fill_value,
        relu_xp.relu_grad(x, grad_at_zero=0.0).nnz,
    ) == (0.0, 1)
    assert relu_xp.relu_vjp(x, x).todense().tolist() == [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    assert type(relu_xp.relu(x)) is type(x)


def test_sparse_arrays_are_matched_once(wanted, monkeypatch):
    """What a formula does with x and the cotangent, it does on the elements that either stores."""
    sparse = wanted("sparse")
    x, g = (sparse.COO.from_numpy(np.nan_to_num(a)) for a in (X, G))
    sizes = []
    elemwise = sparse.elemwise

    def counted(function, *arrays, **options):
        def inside(*parts, **others):
            sizes.append(max(np.size(part) for part in parts))
            return function(*parts, **others)

        return elemwise(inside, *arrays, **options)

    monkeypatch.setattr(sparse, "elemwise", counted)
    for function in oracle.RECORDS:
        sizes.clear()
        with np.errstate(all="ignore"):
            oracle.call(function, x, g)
        assert 0 < max(sizes) <= x.nnz + g.nnz
    elsewhere = sparse.COO([[3, 5]], [1.0, -2.0], (10,)), sparse.COO([[4, 5]], [3.0, 7.0], (10,))
    slopes = sparse.COO([[5]], [0.5], (10,))
    assert relu_xp.leaky_relu_vjp(*elsewhere, slopes).todense().tolist() == [
        0,
        0,
        0,
        0,
        3,
        3.5,
        0,
        0,
        0,
        0,
    ]
    assert max(sizes) < 10


def test_two_libraries_in_one_call(wanted):
    strict, sparse = (
        wanted("array_api_strict"),
        pytest.importorskip("sparse", reason="sparse: not installed"),
    )
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.relu_vjp: x and cotangent must come from the same library, got array_api",
    ):
        relu_xp.relu_vjp(strict.asarray(X), sparse.COO.from_numpy(G))


def test_a_dtype_that_only_numpy_has(wanted):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes: not installed")
    x = wanted("sparse").COO.from_numpy(X.astype(ml_dtypes.bfloat16))
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.relu: takes real floating and integer dtypes, got bfloat16; cast",
    ):
        relu_xp.relu(x)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_a_graph_for_onnxruntime(wanted, name):
    """A call on arrays without values builds an ONNX model, which takes any length."""
    ndx = wanted("ndonnx")
    import onnxruntime

    arrays = oracle.arrays_of(name, X, G)
    arguments = [ndx.argument(shape=("N",), dtype=ndx.float32) for _ in arrays]
    result = getattr(relu_xp, name)(*arguments)
    model = ndx.build({f"x{i}": a for i, a in enumerate(arguments)}, {"y": result})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (got,) = session.run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    # onnxruntime's Where gives +0 for -0: a known deviation, which the README names
    oracle.assert_same(got + 0, oracle.expected(name, arrays) + 0)


KINKS = np.array(
    [1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3, 0.01, -2.5, 1.25, 6, 1e-30], np.float32
)
EACH, WITH_EACH = np.repeat(KINKS, KINKS.size), np.tile(KINKS, KINKS.size)
VALUES = [str(each) for each in oracle.RECORDS if each.role == "value"]
SCALARS = [
    {"negative_slope": s, "grad_at_zero": z, "ceiling": c, "grad_at_ceiling": k}
    for s, z, c, k in [
        (0.01, 1.0, 6.0, 0.0),
        (0.25, 0.25, 1.25, 1.0),
        (-2.0, 0.5, 3.0, 0.5),
        (0.0, 0.0, 1.25, 0.0),
    ]
]


def assert_differentiated(name, scalars, value, pulled, where):
    """The value's bits, and the definition's derivative except for the signs of zeros."""
    vjp = f"{name}_vjp"
    oracle.assert_same(value, oracle.expected(name, (EACH,), **oracle.scalars_of(name, **scalars)))
    want = oracle.expected(vjp, (EACH, WITH_EACH), **oracle.scalars_of(vjp, **scalars))
    oracle.assert_same(pulled.astype(np.float32)[where] + 0, want[where] + 0)


@pytest.mark.parametrize("scalars", SCALARS)
@pytest.mark.parametrize("name", VALUES)
def test_the_derivative_that_mlx_takes(wanted, name, scalars):
    """MLX's `where` multiplies a cotangent by a mask: an infinite one leaves NaN at x < 0."""
    wanted("mlx")
    import mlx.core as mx

    def f(x):
        return oracle.call(name, x, **oracle.scalars_of(name, **scalars))

    (value,), (pulled,) = mx.vjp(f, [mx.array(EACH)], [mx.array(WITH_EACH)])
    alone = name in oracle.SLOPED and scalars["grad_at_zero"]
    assert_differentiated(
        name, scalars, np.array(value), np.array(pulled), np.isfinite(WITH_EACH) | bool(alone)
    )


@pytest.mark.parametrize("scalars", SCALARS)
@pytest.mark.parametrize("name", VALUES)
def test_the_derivative_that_autograd_takes(name, scalars):
    autograd = pytest.importorskip("autograd", reason="autograd: not installed")
    with np.errstate(all="ignore"):
        pull, value = autograd.make_vjp(
            lambda x: oracle.call(name, x, **oracle.scalars_of(name, **scalars))
        )(EACH)
        pulled = pull(WITH_EACH)
    dropped = (
        (EACH == 0)
        & (scalars["grad_at_zero"] == 0)
        & ~np.isfinite(WITH_EACH)
        & (name in oracle.SLOPED)
    )
    assert_differentiated(name, scalars, value, pulled, ~dropped)


def test_a_zero_for_a_derivative_that_has_a_sign_turns_no_value(wanted):
    wanted("mlx")
    import mlx.core as mx

    x = np.array([0.0, -0.0, -2.0], np.float32)
    for z in (0.0, -0.0, -0.5):
        got = relu_xp.leaky_relu(mx.array(x), 0.5, grad_at_zero=z)
        oracle.assert_same(np.asarray(got), np.array([0.0, -0.0, -1.0], np.float32), str(z))


@pytest.mark.parametrize("name", [row.name for row in SURVEYED if row.module])
def test_the_survey_of_one_library_has_no_other(name):
    """They are the devices of one backend, each under its own name."""
    assert [each.name for each in _survey.of(name)] == [name]
