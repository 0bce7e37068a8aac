"""scipy.sparse: what is stored is computed, nothing becomes dense, and what would is refused."""

import re

import numpy as np
import oracle
import pytest

import relu_xp

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
X = np.array([[0, 1.5, -2, 0, np.nan, 0], [7, 0, 0.5, -np.inf, 0, np.inf]], np.float32)
G = np.array([[0, 2, 3, -4, 1, 0], [0, 5, np.inf, 2, -np.inf, 0]], np.float32)
# Derivatives whose value at x = 0 is one of their scalars.
AT_ZERO = [each for each in oracle.RECORDS if each.role == "grad" and each.scalars]
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
    np.testing.assert_array_equal(result.toarray(), want)  # `toarray` drops the signs of zeros
    assert (before != x).nnz == (before != before).nnz  # only NaNs differ from themselves
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
    """It is refused with advice that works, unless each element is stored."""
    x = sparse.csr_array(X)
    for z in (1.0, 0.5):
        with pytest.raises(
            TypeError,
            match=rf"^relu_xp\.{function}: x is 0 where .* the result is {z:g}; pass grad_at",
        ) as raised:
            call(function, x, grad_at_zero=z)
    name, value = re.search(r"pass (\w+)=(\S+),", str(raised.value)).groups()
    np.testing.assert_array_equal(
        call(function, x, **{name: float(value)}).toarray(),
        oracle.expected(function, (X,), grad_at_zero=0.0),
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
            x = type(x)(
                (np.array([-1.0, 3.0, -2.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), (2, 2)
            )
        stored = x.nnz
        dense = x.toarray()
        np.testing.assert_array_equal(relu_xp.relu(x).toarray(), np.maximum(dense, 0))
        np.testing.assert_array_equal(
            relu_xp.relu_vjp(x, x).toarray(), relu_xp.relu_vjp(dense, dense)
        )
        assert x.nnz == stored == 3


@pytest.mark.parametrize(
    "function", [each for each in oracle.RECORDS if len(each.arrays) == 2], ids=str
)
def test_a_cotangent_of_another_format(sparse, function):
    x, g = sparse.csr_matrix(X), sparse.dok_array(G)
    with np.errstate(invalid="ignore"):
        result = call(function, x, g)
    assert type(result) is type(x)
    np.testing.assert_array_equal(result.toarray(), oracle.expected(function, (X, G)))
    single, other = (sparse.coo_array(a[1]) for a in (X, G))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(
            call(function, single, other).toarray(), oracle.expected(function, (X[1], G[1]))
        )


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
            assert (
                result.nnz <= 3000
                if kind == "bsr"
                else result.nnz == ((dense[0] != 0) | (dense[1] != 0)).sum()
            )


def test_a_vjp_sorts_nothing(sparse, monkeypatch):
    """Equal places are only compared; others are found by SciPy's loops, without sorting."""
    x, g = (
        sparse.random_array((90, 70), density=0.1, rng=np.random.default_rng(seed)).tocsr()
        for seed in (0, 1)
    )
    want = relu_xp.relu_vjp(x.toarray(), g.toarray()), relu_xp.relu_vjp(x.toarray(), x.toarray())
    pairs = [[a.asformat(kind) for a in (x, g)] for kind in FORMATS if kind != "dia"]

    def refuse(*arguments, **options):
        raise AssertionError("sorted, or added")

    monkeypatch.setattr(np, "lexsort", refuse)
    for x, g in pairs:
        np.testing.assert_array_equal(relu_xp.relu_vjp(x, g).toarray(), want[0])
        with monkeypatch.context() as patched:
            for kind in (sparse.csr_array, sparse.csc_array, sparse.bsr_array, sparse.coo_array):
                patched.setattr(kind, "__add__", refuse)
            result = relu_xp.relu_vjp(x, x.copy())
        np.testing.assert_array_equal(result.toarray(), want[1])


def layouts(sparse, kind, dense):
    """The same array in every state that a format may be in."""
    x = sparse.coo_array(dense)
    yield x.asformat(kind)
    # The places in no order, and every other one twice, with half of its element each.
    again = np.r_[np.arange(x.nnz)[::-1], np.arange(0, x.nnz, 2)]
    data = (x.data / np.where(np.arange(x.nnz) % 2, 1, 2))[again]
    halves = sparse.coo_array((data.astype(x.dtype), [each[again] for each in x.coords]), x.shape)
    if kind in ("csr", "csc"):
        rows, columns = halves.coords if kind == "csr" else halves.coords[::-1]
        order = np.argsort(rows, kind="stable")
        starts = np.r_[0, np.bincount(rows, minlength=dense.shape[kind == "csc"]).cumsum()]
        spare = (np.full(3, np.inf, x.dtype), np.zeros(3, int))  # allocated, but not in use
        data, columns = np.r_[halves.data[order], spare[0]], np.r_[columns[order], spare[1]]
        made = getattr(sparse, f"{kind}_array")((data, columns, starts), x.shape)
        assert made.has_canonical_format == (x.nnz == 0)
        yield made
    elif kind == "coo":
        yield halves
    elif kind == "bsr":
        yield x.tobsr((2, 5))
    elif kind == "dia":
        made = x.todia()
        made.data = np.c_[made.data, np.full((len(made.data), 9), np.inf)].astype(x.dtype)
        outside = np.arange(made.data.shape[1]) - made.offsets[:, None]
        made.data[
            (outside < 0) | (outside >= x.shape[0]) | (np.arange(made.data.shape[1]) >= x.shape[1])
        ] = np.inf
        yield sparse.dia_array((made.data[::-1].copy(), made.offsets[::-1].copy()), x.shape)


@pytest.mark.parametrize(
    "function", [each for each in oracle.RECORDS if each not in AT_ZERO], ids=str
)
@pytest.mark.parametrize("kind", FORMATS)
def test_whatever_state_either_is_in(sparse, function, kind):
    """No floating-point error comes from what the arrays do not hold."""
    rng = np.random.default_rng(0)
    dense, other = rng.normal(size=(2, 20, 30)).astype("f4") * (rng.random((2, 20, 30)) < 0.2)
    for x in layouts(sparse, kind, dense):
        before = x.copy()
        for cotangent in (dense, other, np.zeros_like(dense)):
            want = oracle.expected(function, oracle.arrays_of(function, x.toarray(), cotangent))
            for g in layouts(sparse, kind, cotangent) if len(function.arrays) == 2 else [x]:
                with np.errstate(all="raise"):
                    result = call(function, x, g)
                    turned = call(function, g, x)
                assert (type(result), result.shape, result.dtype) == (type(x), x.shape, x.dtype)
                np.testing.assert_array_equal(result.toarray(), want)
                back = oracle.arrays_of(function, g.toarray(), x.toarray())
                np.testing.assert_array_equal(turned.toarray(), oracle.expected(function, back))
        assert (x.nnz, (x != before).nnz) == (before.nnz, 0)


@pytest.mark.parametrize("shape", [(600,), (4, 5, 30), (5, 2**62)])
def test_arrays_of_any_number_of_axes(sparse, shape):
    rng = np.random.default_rng(0)
    for many in (100, 3):
        places = [np.array([rng.integers(0, min(n, 999), many) for n in shape]) for _ in range(2)]
        x, g = (sparse.coo_array((rng.normal(size=many), tuple(at)), shape) for at in places)
        for function in oracle.RECORDS:
            if len(function.arrays) == 2:
                for of_g in (g, x.copy(), x * 0):
                    result = call(function, x, of_g)
                    assert (result.shape, result.format) == (shape, "coo")
                    assert not any(
                        np.shares_memory(*each)
                        for each in zip(result.coords, x.coords, strict=True)
                    )
                    parts = [elements(a) for a in (x, of_g, result)]
                    assert {*parts[2]} == {*parts[0], *parts[1]}
                    values = [
                        np.array([part.get(each, 0.0) for each in parts[2]]) for part in parts
                    ]
                    np.testing.assert_array_equal(values[2], oracle.expected(function, values[:2]))


def elements(x):
    """What a coo_array of any number of axes stores, by its places."""
    found = {}
    for *at, value in zip(*x.coords, x.data, strict=True):
        found[*at] = found.get((*at,), 0.0) + value
    return found


def test_a_stored_minus_zero_keeps_its_sign(sparse):
    """Whether the other stores an element there, or none."""
    x = sparse.csr_array((np.array([1.0, 2.0]), ([0, 0], [0, 1])), (1, 3))
    g = sparse.csr_array((np.array([-0.0, -0.0]), ([0, 0], [0, 2])), (1, 3))
    for kind in ("csr", "csc", "coo", "bsr"):
        result = relu_xp.relu_vjp(x.asformat(kind), g.asformat(kind)).tocsr()
        assert [*np.signbit(result.data[[0, -1]])] == [True, True]
    assert np.signbit(relu_xp.relu_vjp(x, x * -0.0).data).all()


def test_one_call_tells_of_an_error_once(sparse):
    """Also where the places are so many that they are computed in parts."""
    many = 200_000
    x, g = (
        sparse.csr_array(
            (np.full(many, -np.inf), ([0] * many, np.arange(many) * 2 + i)), (1, 400_001)
        )
        for i in (0, 1)
    )
    with pytest.warns(RuntimeWarning) as told:
        result = relu_xp.leaky_relu_slope_vjp(x, g)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert result.nnz == 2 * many


def test_bad_input(sparse):
    x = sparse.csr_array(X)
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.relu_vjp: x and cotangent must come from the same library, got .*csr_a",
    ):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(
        ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same shape, got "
    ):
        relu_xp.relu_vjp(x, x.T)
    with pytest.raises(
        TypeError, match=r"^relu_xp\.relu: a scipy\.sparse array cannot be written to; leave out"
    ):
        relu_xp.relu(x, out=x)
    with pytest.raises(
        TypeError, match=r"^relu_xp\.leaky_relu: negative_slope must be a real number, got "
    ):
        relu_xp.leaky_relu(x, x)
    integers = sparse.csr_array(np.array([[2, -3, 0]]))
    assert relu_xp.relu(integers).toarray().tolist() == [[2, 0, 0]]
    with pytest.raises(
        TypeError, match=r"takes real .*, got int64; cast it first, for .* (x\.\S*)"
    ) as raised:
        relu_xp.leaky_relu(integers)
    advice = re.search(r"for example (.*)$", str(raised.value))[1]
    assert relu_xp.leaky_relu(eval(advice, {"x": integers}), 0.5).toarray().tolist() == [
        [2, -1.5, 0]
    ]
    with pytest.raises(TypeError, match=r"got complex128; take x\.real, or x\.imag"):
        relu_xp.relu(integers * 1j)


def test_room_that_is_not_in_use_warns_of_nothing(sparse):
    """A matrix may have more memory than elements; what lies there is not computed."""
    x = sparse.csr_array(np.float32([[-1, 0], [0, 2]]))
    x.data = np.append(x.data, -np.finfo(np.float32).max)
    x.indices = np.append(x.indices, np.int32(0))
    with np.errstate(all="raise"):
        assert relu_xp.leaky_relu(x, 4.0).toarray().tolist() == [[-4, 0], [0, 2]]
    assert len(x.data) == 3
