"""scipy.sparse: what is stored is computed, nothing becomes dense, and what would is refused."""

import re
import timeit

import numpy as np
import oracle
import pytest

import relu_xp

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
X = np.array([[0, 1.5, -2, 0, np.nan, 0], [7, 0, 0.5, -np.inf, 0, np.inf]], np.float32)
G = np.array([[0, 2, 3, -4, 1, 0], [0, 5, np.inf, 2, -np.inf, 0]], np.float32)
AT_ZERO = [each for each in oracle.RECORDS if each.role == "grad" and each.scalars]  # whose result there is a scalar
call = oracle.call


@pytest.fixture(scope="module")
def sparse(wanted):
    wanted("scipy")
    return pytest.importorskip("scipy.sparse")


def kept_sparse(function):
    return {"grad_at_zero": 0.0} if function in AT_ZERO else {}


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("made", ["array", "matrix"])
def test_every_format_stays_what_it_is(sparse, function, kind, made):
    x, g = (getattr(sparse, f"csr_{made}")(a).asformat(kind) for a in (X, G))
    before = x.copy()
    with np.errstate(invalid="ignore"):
        result = call(function, x, g, **kept_sparse(function))
        want = oracle.expected(function, oracle.arrays_of(function, X, G), **kept_sparse(function))
    assert type(result) is type(x)
    assert (result.dtype, result.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(result.toarray(), want)  # signs of zeros apart, which toarray drops
    assert (before != x).nnz == (before != before).nnz  # of NaNs
    if kind == "csr" and len(function.arrays) == 1:
        assert (result.indptr == x.indptr).all()
        assert not np.shares_memory(result.indices, x.indices)
        assert not np.shares_memory(result.data, x.data)


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_a_large_array_never_becomes_dense(sparse, function):
    """Its dense form would take more bytes than there are."""
    shape = (2**40, 2**40)
    places = (np.array([2**39, 5, 5]), np.array([7, 2**38, 9]))
    x = sparse.coo_array((np.array([-2.0, 3.0, 0.5]), places), shape)
    g = sparse.coo_array((np.array([5.0, 7.0]), (places[0][:2], np.array([7, 8]))), shape)
    result = call(function, x, g, **kept_sparse(function)).todok()
    order = [(2**39, 7), (5, 2**38), (5, 9), (5, 8)]
    values = np.array([-2, 3, 0.5, 0]), np.array([5, 0, 0, 7.0])
    want = oracle.expected(function, oracle.arrays_of(function, *values), **kept_sparse(function))
    assert [result.get(at, 0) for at in order] == want.tolist()


@pytest.mark.parametrize("function", AT_ZERO, ids=str)
def test_derivatives_that_are_not_zero_at_zero(sparse, function):
    """Refused, with two pieces of advice that work; but where each element is stored, nothing is missing."""
    x = sparse.csr_array(X)
    for z in (1.0, 0.5):
        with pytest.raises(
            TypeError, match=rf"^relu_xp\.{function}: x is 0 where .* the result is {z:g}; pass grad_at"
        ) as raised:
            call(function, x, grad_at_zero=z)
    name, value = re.search(r"pass (\w+)=(\S+),", str(raised.value)).groups()
    np.testing.assert_array_equal(
        call(function, x, **{name: float(value)}).toarray(), oracle.expected(function, (X,), grad_at_zero=0.0)
    )
    dense = eval(re.search(r"for example (\S+)$", str(raised.value))[1], {"x": x})
    np.testing.assert_array_equal(call(function, dense), oracle.expected(function, (X,)))
    assert call(function, x, grad_at_zero=-0.0).nnz == x.nnz
    whole = sparse.csr_array(([0.0, -1.0], ([0, 0], [0, 1])), (1, 2))
    assert call(function, whole, grad_at_zero=0.5).toarray()[0, 0] == 0.5
    assert call(function, sparse.csr_array((0, 3))).shape == (0, 3)


def test_what_is_stored_twice_counts_as_its_sum(sparse):
    for kind in ("csr", "csc", "coo"):
        x = sparse.coo_array(([-1.0, 3.0, -2.0], ([0, 0, 1], [1, 1, 0])), (2, 2)).asformat(kind)
        if kind != "coo":
            x = type(x)((np.array([-1.0, 3.0, -2.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), (2, 2))
        stored = x.nnz
        dense = x.toarray()
        np.testing.assert_array_equal(relu_xp.relu(x).toarray(), np.maximum(dense, 0))
        np.testing.assert_array_equal(relu_xp.relu_vjp(x, x).toarray(), relu_xp.relu_vjp(dense, dense))
        assert x.nnz == stored == 3


@pytest.mark.parametrize("function", [each for each in oracle.RECORDS if len(each.arrays) == 2], ids=str)
def test_a_cotangent_of_another_format(sparse, function):
    x, g = sparse.csr_matrix(X), sparse.dok_array(G)
    with np.errstate(invalid="ignore"):
        result = call(function, x, g)
    assert type(result) is type(x)
    np.testing.assert_array_equal(result.toarray(), oracle.expected(function, (X, G)))
    single, other = (sparse.coo_array(a[1]) for a in (X, G))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(call(function, single, other).toarray(), oracle.expected(function, (X[1], G[1])))


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "coo"])
def test_many_elements_where_either_has_none(sparse, kind):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(2, 60, 50)).astype("f4") * (rng.random((2, 60, 50)) < 0.3)
    x, g = (sparse.csr_array(a).asformat(kind) for a in dense)
    for function in oracle.RECORDS:
        if len(function.arrays) == 2:
            result = call(function, x, g)
            np.testing.assert_array_equal(result.toarray(), oracle.expected(function, dense))
            assert result.format == kind
            assert result.nnz <= 3000 if kind == "bsr" else result.nnz == ((dense[0] != 0) | (dense[1] != 0)).sum()


def test_a_vjp_costs_no_sorting(sparse):
    x = sparse.random_array((3000, 3000), density=0.03, format="csr", rng=np.random.default_rng(0))
    g = sparse.random_array((3000, 3000), density=0.03, format="csr", rng=np.random.default_rng(1))
    seconds = {}
    for name, run in (("ours", lambda: relu_xp.relu_vjp(x, g)), ("SciPy's", lambda: x + g)):
        seconds[name] = min(timeit.repeat(run, number=1, repeat=5))
    assert seconds["ours"] < 15 * seconds["SciPy's"]  # sorting takes thirty times as long


def test_bad_input(sparse):
    x = sparse.csr_array(X)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu_vjp: x and cotangent must come from one library, got .*csr_a"):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have one shape, got "):
        relu_xp.relu_vjp(x, x.T)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: a scipy\.sparse array cannot be written to; leave out"):
        relu_xp.relu(x, out=x)
    with pytest.raises(TypeError, match=r"^relu_xp\.leaky_relu: negative_slope must be a real number, got "):
        relu_xp.leaky_relu(x, x)
    integers = sparse.csr_array(np.array([[2, -3, 0]]))
    assert relu_xp.relu(integers).toarray().tolist() == [[2, 0, 0]]
    with pytest.raises(TypeError, match=r"takes real .*, got int64; cast it first, for .* (x\.\S*)") as raised:
        relu_xp.leaky_relu(integers)
    advice = re.search(r"for example (.*)$", str(raised.value))[1]
    assert relu_xp.leaky_relu(eval(advice, {"x": integers}), 0.5).toarray().tolist() == [[2, -1.5, 0]]
    with pytest.raises(TypeError, match=r"got complex128; take x\.real, or x\.imag"):
        relu_xp.relu(integers * 1j)
