"""What only PyTorch has: autograd, transforms, compilers, memory formats, kinds of tensors."""

import functools
import gc
import importlib
import inspect
import operator
import re
import shutil
import subprocess
import sys

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _dispatch

# Torch warns of its own use of deprecated names: at the first use of torch.func, in
# torch.func.linearize, and where torch.compile meets any autograd.Function.
WARNINGS_OF_TORCH = (
    ".torch.jit",
    "Attempted to insert a get_attr",
    ".*autograd.function.Function.*should not be instantiated",
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in WARNINGS_OF_TORCH]

INF, NAN = np.inf, np.nan
# Every point of x meets every cotangent, in whole vector registers and in their tails.
POINTS = [1.5, -2.0, 0.0, -0.0, NAN, INF, -INF, 1e-7, -1e-7]
COTANGENTS = [1.0, -3.0, 0.0, -0.0, NAN, INF, -INF]
EVERY_GRAD_AT_ZERO = [*oracle.GRADS_AT_ZERO, 2.0, -0.5, 0.01]
RECORDS = {str(each): each for each in oracle.RECORDS}
VALUES = [name for name, each in RECORDS.items() if each.role == "value"]


@pytest.fixture(scope="module")
def torch(wanted):
    return wanted("torch")


@pytest.fixture(scope="module")
def backend(torch):
    from relu_xp._backends import torch as backend

    return backend


def pairs(dtype=np.float32):
    x, g = np.meshgrid(np.array(POINTS, dtype), np.array(COTANGENTS, dtype))
    return x.ravel(), g.ravel()


def scalars_of(name, slope=0.01, grad_at_zero=1.0):
    """Give scalars for a function. The ceiling is one of POINTS; both kinks have one derivative."""
    z = grad_at_zero
    return oracle.scalars_of(
        name, negative_slope=slope, grad_at_zero=z, ceiling=1.5, grad_at_ceiling=z
    )


def expected(name, arrays, slope=0.01, grad_at_zero=1.0):
    return oracle.expected(name, arrays, **scalars_of(name, slope, grad_at_zero))


def both(name, slope=0.01, grad_at_zero=1.0):
    """Give a function and its VJP, with the scalars bound."""
    functions = (name, f"{name}_vjp")
    return tuple(
        functools.partial(getattr(relu_xp, n), **scalars_of(n, slope, grad_at_zero))
        for n in functions
    )


def each(slopes=oracle.SLOPES, grads_at_zero=EVERY_GRAD_AT_ZERO):
    for name in VALUES:
        for slope in slopes if name in oracle.SLOPED else (0.01,):
            for grad_at_zero in grads_at_zero if RECORDS[name].parameters else (1.0,):
                yield name, slope, grad_at_zero


def second(name, x):
    """Give the second derivative."""
    return np.where(x > 0, x.dtype.type(RECORDS[name].curvature), x.dtype.type(0))


def reverse(torch, function, x, g):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x, g)[0]


def forward(torch, function, x, t):
    with torch.autograd.forward_ad.dual_level():
        return torch.autograd.forward_ad.unpack_dual(
            function(torch.autograd.forward_ad.make_dual(x, t))
        ).tangent.clone()


WAYS = {
    "autograd": reverse,
    "forward_ad": forward,
    "func.vjp": lambda torch, function, x, g: torch.func.vjp(function, x)[1](g)[0],
    "func.jvp": lambda torch, function, x, g: torch.func.jvp(function, (x,), (g,))[1],
    "vmap of func.vjp": lambda torch, function, x, g: torch.func.vmap(
        lambda x, g: torch.func.vjp(function, x)[1](g)[0]
    )(x, g),
    "vmap of func.jvp": lambda torch, function, x, g: torch.func.vmap(
        lambda x, g: torch.func.jvp(function, (x,), (g,))[1]
    )(x, g),
    "func.vjp of vmap": lambda torch, function, x, g: torch.func.vjp(torch.func.vmap(function), x)[
        1
    ](g)[0],
    "func.jvp of vmap": lambda torch, function, x, g: torch.func.jvp(
        torch.func.vmap(function), (x,), (g,)
    )[1],
    "func.linearize": lambda torch, function, x, g: torch.func.linearize(function, x)[1](g),
    "checkpoint": lambda torch, function, x, g: reverse(
        torch,
        functools.partial(torch.utils.checkpoint.checkpoint, function, use_reentrant=False),
        x,
        g,
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_derivatives_equal_the_vjp(torch, backend, way, dtype):
    arrays = pairs(dtype)
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each():
        function, vjp = both(name, slope, grad_at_zero)
        want = expected(f"{name}_vjp", arrays, slope, grad_at_zero)
        context = f"{name}, slope {slope}, grad_at_zero {grad_at_zero}"
        oracle.assert_same(backend.get(vjp(x, g)), want, context)
        oracle.assert_same(backend.get(WAYS[way](torch, function, x, g)), want, context)


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_tracking_changes_no_value(torch, backend, dtype):
    for n in range(131):
        x = np.resize(np.array(POINTS, dtype), n)
        for name, slope, grad_at_zero in each(
            grads_at_zero=EVERY_GRAD_AT_ZERO if n < 40 else (1.0,)
        ):
            function, _ = both(name, slope, grad_at_zero)
            plain, tracked = (
                function(backend.put(x, "cpu")),
                function(backend.put(x, "cpu").requires_grad_()),
            )
            assert (plain.requires_grad, tracked.requires_grad) == (False, True)
            want = expected(name, (x,), slope, grad_at_zero)
            for result in (plain, tracked):
                oracle.assert_same(
                    backend.get(result), want, f"{name}, {slope}, {grad_at_zero}, {n}"
                )


@pytest.mark.parametrize("dtype", oracle.FLOATS[:2], ids=str)
@pytest.mark.parametrize("way", ["autograd", "forward_ad"])
def test_every_pattern_of_16_bits(torch, backend, dtype, way):
    every = oracle.patterns(dtype)
    shuffled = np.random.default_rng(0).permutation(every)
    x, g = (backend.put(a, "cpu") for a in (every, shuffled))
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5)):
        function, _ = both(name, slope, grad_at_zero)
        want = expected(f"{name}_vjp", (every, shuffled), slope, grad_at_zero)
        oracle.assert_same(
            backend.get(WAYS[way](torch, function, x, g)), want, f"{name}, {slope}, {grad_at_zero}"
        )
        value = expected(name, (every,), slope, grad_at_zero)
        oracle.assert_same(backend.get(function(x.clone().requires_grad_())), value)


@pytest.mark.parametrize("grad_at_zero", EVERY_GRAD_AT_ZERO)
@pytest.mark.parametrize("slope", oracle.SLOPES)
def test_a_derivative_is_that_of_one(backend, slope, grad_at_zero):
    x = np.array(POINTS * 9, np.float32)
    for name in (name for name, each in RECORDS.items() if each.role == "grad"):
        got = getattr(relu_xp, name)(backend.put(x, "cpu"), **scalars_of(name, slope, grad_at_zero))
        oracle.assert_same(backend.get(got), expected(name, (x,), slope, grad_at_zero))


def test_double_backward(torch):
    x = torch.tensor([1.5, -2.0, 0.0], requires_grad=True)
    g = torch.tensor([2.0, -3.0, 5.0], requires_grad=True)
    for name, slope, grad_at_zero in each((0.25, -0.5)):
        function, vjp = both(name, slope, grad_at_zero)
        (pulled,) = torch.autograd.grad(function(x), x, g, create_graph=True)
        by_x, by_g = torch.autograd.grad(
            pulled, (x, g), torch.ones(3), allow_unused=True, retain_graph=True
        )
        assert np.array_equal(by_x, second(name, x.detach().numpy()) * g.detach().numpy())
        assert by_g.tolist() == vjp(x.detach(), torch.ones(3)).tolist()
        (of_vjp,) = torch.autograd.grad(vjp(x, g), g, torch.ones(3))
        assert of_vjp.tolist() == by_g.tolist()
        (of_square,) = torch.autograd.grad((pulled**2).sum(), g)
        assert of_square.tolist() == (2 * pulled * by_g).tolist()


def test_numerical_gradients(torch):
    x = torch.tensor([1.25, -2.0, 0.75], dtype=torch.float64, requires_grad=True)
    for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0)):
        function, _ = both(name, slope, grad_at_zero)
        options = {
            "check_batched_grad": True,
            "check_batched_forward_grad": True,
            "check_forward_ad": True,
        }
        assert torch.autograd.gradcheck(function, x, **options)
        assert torch.autograd.gradgradcheck(function, x)


def test_batched_gradients(torch, backend):
    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5)):
        function, _ = both(name, slope, grad_at_zero)
        tracked = x.clone().requires_grad_()
        several = torch.stack([g, g.flip(0)])
        got = torch.autograd.grad(function(tracked), tracked, several, is_grads_batched=True)[0]
        for one, cotangent in zip(got, (arrays[1], arrays[1][::-1]), strict=True):
            want = expected(f"{name}_vjp", (arrays[0], cotangent), slope, grad_at_zero)
            oracle.assert_same(backend.get(one), want, f"{name}, {slope}, {grad_at_zero}")


def test_jacobians_and_hessian(torch):
    x = torch.tensor([1.5, -2.0, 0.0, -0.0])
    for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0, 0.5, -0.5)):
        function, vjp = both(name, slope, grad_at_zero)
        slopes = vjp(x, torch.ones(4)).tolist()
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            assert jacobian(function)(x).diagonal().tolist() == slopes
        twice = second(name, x.numpy())
        assert np.array_equal(
            torch.func.hessian(lambda v, f=function: f(v).sum())(x), np.diag(twice)
        )
        square = torch.func.hessian(lambda v, f=function: (f(v) ** 2).sum())(x)
        want = 2 * np.array(slopes) ** 2 + 2 * function(x).numpy() * twice
        assert square.diagonal().tolist() == want.tolist()


def test_nothing_is_tracked_without_gradients(torch):
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    for name in oracle.FUNCTIONS:
        args = oracle.arrays_of(name, x)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert not getattr(relu_xp, name)(*args).requires_grad
        assert getattr(relu_xp, name)(*args).requires_grad


@pytest.mark.parametrize("n", [1000, 1 << 18])
@pytest.mark.parametrize("lowest", [-1.0, 0.0])
def test_memory_kept_for_the_backward_pass(torch, n, lowest):
    x = torch.randn(n).clamp(lowest).requires_grad_()
    own = torch.nn.functional
    of_torch = {"clipped_relu": own.relu6, "squared_relu": lambda x: own.relu(x).square()}
    for name in VALUES:
        kept = []
        equal = of_torch.get(name) or getattr(own, name, None)  # torch need not have the function
        for function in (getattr(relu_xp, name), *filter(None, [equal])):
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t, kept=kept: kept.append(t.nbytes), lambda t: t
            ):
                function(x)
        assert kept[0] == x.nbytes
        assert equal is None or x.nbytes <= sum(kept[1:])


def test_module(torch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 3, bias=False)
            self.slope = 0.25

        def forward(self, x):
            return relu_xp.leaky_relu(self.linear(x), self.slope)

    net, x = Net(), torch.tensor([[1.0, -2.0, 0.0]])
    weights = {"linear.weight": torch.eye(3)}

    def loss(weights):
        return torch.func.functional_call(net, weights, (x,)).sum()

    assert torch.func.grad(loss)(weights)["linear.weight"].tolist() == [
        [1, -2, 0],
        [0.25, -0.5, 0],
        [1, -2, 0],
    ]
    net.load_state_dict(weights)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for slope in (0.25, 0.5, 0.75):  # torch makes a changing float symbolic
        net.slope = slope
        assert compiled(x).tolist() == [[1, -2 * slope, 0]]


NO_COMPILER = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor: no C++ compiler"
)
# The filter is for warnings of inductor's own libraries.
INDUCTOR = pytest.param("inductor", marks=[NO_COMPILER, pytest.mark.filterwarnings("ignore")])


@pytest.mark.parametrize("compiler", ["eager", "aot_eager", INDUCTOR])
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_compiles_without_a_graph_break(torch, backend, monkeypatch, compiler, name):
    torch.compiler.reset()
    monkeypatch.setattr(_dispatch, "_OWNERS", {})  # as if the first call of all were compiled
    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    function = torch.compile(getattr(relu_xp, name), fullgraph=True, backend=compiler)
    for _ in range(2):
        result = function(*oracle.arrays_of(name, x, g))
        oracle.assert_same(
            backend.get(result), oracle.expected(name, oracle.arrays_of(name, *arrays))
        )
    if name in VALUES:
        want = oracle.expected(f"{name}_vjp", arrays)
        oracle.assert_same(backend.get(reverse(torch, function, x, g)), want)


@NO_COMPILER
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_chain_can_be_rounded_as_an_eager_one(torch):
    def chain(x):
        return relu_xp.leaky_relu(relu_xp.leaky_relu(x, 0.3), 0.7)

    torch.compiler.reset()
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)).half()
    with torch._inductor.config.patch(emulate_precision_casts=True):
        compiled = torch.compile(chain, fullgraph=True)(x)
    oracle.assert_same(compiled.numpy(), chain(x).numpy())


def test_proxies_record_a_call(torch):
    x = torch.tensor([1.5, -2.0, 0.0])
    traced = torch.fx.symbolic_trace(relu_xp.leaky_relu)
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [
        relu_xp.leaky_relu
    ]
    assert traced(x, 0.5).tolist() == [1.5, -1.0, 0.0]
    pulled = torch.fx.symbolic_trace(lambda x, g: relu_xp.relu_vjp(x, g))
    assert pulled(x, x).tolist() == [1.5, 0.0, 0.0]
    learned = torch.fx.symbolic_trace(lambda s: relu_xp.leaky_relu(x, s))  # only s is a proxy
    assert learned(torch.tensor(0.5)).tolist() == [1.5, -1.0, 0.0]


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_with_every_scalar(torch, backend, compiler):
    arrays = pairs(np.float16)
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.01, -0.5)):
        torch.compiler.reset()
        function, _ = both(name, slope, grad_at_zero)
        compiled = torch.compile(function, fullgraph=True, backend=compiler, dynamic=True)
        want = expected(f"{name}_vjp", arrays, slope, grad_at_zero)
        oracle.assert_same(
            backend.get(reverse(torch, compiled, x, g)), want, f"{name}, {slope}, {grad_at_zero}"
        )


def test_compiles_transforms(torch):
    torch.compiler.reset()
    x = torch.tensor([1.5, -2.0, 0.0])
    for name in VALUES:
        function, vjp = both(name, 0.25)
        gradient = torch.compile(
            torch.func.vmap(torch.func.grad(function)), fullgraph=True, backend="aot_eager"
        )
        assert gradient(x).tolist() == vjp(x, torch.ones(3)).tolist()
        tangent = torch.compile(
            lambda x, t, f=function: torch.func.jvp(f, (x,), (t,))[1],
            fullgraph=True,
            backend="eager",
        )
        assert tangent(x, torch.ones(3)).tolist() == vjp(x, torch.ones(3)).tolist()


def test_exports(torch):
    class Net(torch.nn.Module):
        def forward(self, x):
            return relu_xp.leaky_relu(relu_xp.relu(x) - 1, 0.5)

    x = torch.tensor([[1.5, -2.0], [0.0, 3.0]])
    program = torch.export.export(Net(), (x,), dynamic_shapes=[{0: torch.export.Dim("n")}])
    assert program.module()(torch.cat([x, x])).tolist() == [[0.5, -0.5], [-0.5, 2.0]] * 2


def test_autocast_keeps_the_dtype(torch):
    x = torch.tensor([1.5, -2.0, 0.0], requires_grad=True)
    for name in VALUES:
        plain = getattr(relu_xp, name)(x)
        with torch.autocast("cpu", torch.bfloat16):
            result = getattr(relu_xp, name)(x)
            assert torch.equal(result, plain)
            assert result.dtype == torch.float32
            assert getattr(relu_xp, name)(x.bfloat16()).dtype == torch.bfloat16


def test_the_default_dtype_plays_no_part(torch):
    torch.set_default_dtype(torch.float64)
    try:
        for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5, -0.5)):
            for function in both(name, slope, grad_at_zero):
                x = torch.ones(3, dtype=torch.float16, requires_grad=True)
                assert function(*oracle.arrays_of(function.func.__name__, x)).dtype == x.dtype
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_out_and_gradients(torch, name):
    x, out = torch.tensor([-1.0, 2.0]), torch.zeros(2)
    call = functools.partial(oracle.call, name)
    tracked = pytest.raises(
        TypeError,
        match=rf"relu_xp\.{name}: out cannot be written where gradients are tracked; leave",
    )
    parameter = torch.nn.Parameter(x.clone())
    with tracked:
        call(x, out=parameter)
    with tracked:
        call(parameter, out=out)
    with tracked, torch.autograd.forward_ad.dual_level():
        call(torch.autograd.forward_ad.make_dual(x, x), out=out)
    with tracked:
        torch.func.vmap(lambda v: call(v, out=torch.zeros(())))(x)
    assert out.tolist() == [0, 0]
    with torch.no_grad():
        assert call(parameter, out=parameter) is parameter
    assert parameter.tolist() == call(x).tolist()


@pytest.mark.parametrize("name", VALUES)
def test_writing_in_place_is_seen_by_autograd(torch, name):
    x = torch.tensor([-1.0, 2.0])
    w = torch.ones(2, requires_grad=True)
    product = w * x  # autograd keeps x for the backward pass
    getattr(relu_xp, name)(x, out=x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_out_of_other_memory(torch, name):
    memory = torch.arange(-20.0, 20.0)
    x = memory[10:20]
    want = oracle.call(name, x.clone())
    for out in (memory[8:18], memory[0:20:2], memory[10:30:2], torch.empty(10, 2)[:, 1]):
        memory.copy_(torch.arange(-20.0, 20.0))
        assert oracle.call(name, x, out=out) is out
        assert torch.equal(out, want)
    x = torch.ones(3, 2)
    for out in (torch.zeros(2).expand(3, 2), torch.zeros(1, 1).expand(3, 2)):
        with pytest.raises(
            ValueError, match=rf"relu_xp\.{name}: elements of out share memory; pass out\.clone"
        ):
            oracle.call(name, x, out=out)
        assert not out.any()
    windows = torch.arange(-4.0, 4.0).unfold(0, 3, 1)
    with pytest.raises(ValueError, match="elements of out share memory"):
        oracle.call(name, windows, out=windows)
    # Torch does not know whether these strides share elements. They do not.
    interleaved = torch.arange(-4.0, 4.0).as_strided((2, 3), (3, 2))
    want = oracle.call(name, interleaved.clone())
    assert torch.equal(oracle.call(name, interleaved, out=interleaved), want)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_devices_do_not_mix(torch, name):
    x, meta = torch.ones(3), torch.ones(3, device="meta")
    assert oracle.call(name, meta).device.type == "meta"
    assert oracle.call(name, meta, out=meta) is meta
    with pytest.raises(
        ValueError, match=rf"relu_xp\.{name}: out must be on the device of x, cpu, got meta"
    ):
        oracle.call(name, x, out=meta)
    if len(RECORDS[name].arrays) > 1:
        with pytest.raises(
            ValueError,
            match=rf"relu_xp\.{name}: x and cotangent must be on the same device, got cpu and meta",
        ):
            getattr(relu_xp, name)(x, meta)


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_memory_formats_are_kept(torch, name, tracked):
    whole = torch.arange(-60.0, 60.0).reshape(2, 3, 4, 5)
    layouts = {
        "contiguous": whole,
        "channels last": whole.contiguous(memory_format=torch.channels_last),
        "permuted": whole.permute(3, 1, 0, 2),
        "strided": whole[:, ::2, :, ::2],
        "expanded": whole[:, :1].expand(2, 3, 4, 5),
        "0-d": whole[0, 0, 0, 0],
        "empty": whole[:, :0],
    }
    if len(RECORDS[name].arrays) > 1:  # the result has the memory format of x, not of g
        for z in (1.0, 0.0, 0.01, 0.5):
            last = getattr(relu_xp, name)(
                layouts["channels last"], whole, **scalars_of(name, grad_at_zero=z)
            )
            assert last.is_contiguous(memory_format=torch.channels_last), z
    for layout, x in layouts.items():
        result = oracle.call(name, x.detach().requires_grad_(tracked))
        want = oracle.expected(name, oracle.arrays_of(name, x.numpy()))
        oracle.assert_same(result.detach().numpy(), want, layout)
        assert result.stride() == (x + x).stride(), layout
        assert (
            result.numel() == 0
            or result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
        ), layout


@pytest.mark.parametrize(
    "kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_relu_of_integers_is_a_copy(torch, kind):
    x = torch.tensor([3, 0, 100], dtype=getattr(torch, kind))
    result = relu_xp.relu(x)
    assert (result.tolist(), result.dtype) == ([3, 0, 100], x.dtype)
    assert result.data_ptr() != x.data_ptr()
    if x.dtype.is_signed:
        assert relu_xp.relu(-x).tolist() == [0, 0, 0]
    assert relu_xp.relu(x, out=x) is x


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_dtypes_without_arithmetic(torch):
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    float8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu]
    for x in (
        quantized,
        *(torch.ones(3).to(dtype) for dtype in (torch.bool, torch.complex64, *float8)),
    ):
        with pytest.raises(
            TypeError,
            match=rf"relu_xp\.relu: takes .*, got {x.dtype}; "
            r"(cast it first|take x\.real|.*x\.dequantize\(\))",
        ):
            relu_xp.relu(x)


@pytest.mark.filterwarnings("ignore")  # torch warns that sparse layouts and nested tensors are new
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_layouts_that_are_refused(torch, name):
    x = torch.eye(3)
    nested = [
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=k)
        for k in (torch.strided, torch.jagged)
    ]
    for other in (x.to_sparse(), x.to_sparse_csr(), x.to_mkldnn(), *nested):
        with pytest.raises(
            TypeError, match=rf"relu_xp\.{name}: takes dense tensors, got layout (torch\.|nested)"
        ):
            oracle.call(name, other)
        with pytest.raises(
            TypeError, match=rf"relu_xp\.{name}: takes dense .*; pass out\.to_dense\(\)"
        ):
            oracle.call(name, x, out=other)
    if len(RECORDS[name].arrays) > 1:
        with pytest.raises(
            TypeError, match=rf"relu_xp\.{name}: takes dense tensors, got layout torch\.sparse_coo"
        ):
            getattr(relu_xp, name)(x, x.to_sparse())


def test_a_parameter_gives_a_tensor(torch):
    for name in oracle.FUNCTIONS:
        assert type(oracle.call(name, torch.nn.Parameter(torch.ones(3)))) is torch.Tensor


def test_subclasses_are_treated_as_by_torch(torch):
    class Named(torch.Tensor):
        pass

    x = torch.tensor([-1.0, 2.0]).as_subclass(Named)
    for name in oracle.FUNCTIONS:
        assert type(oracle.call(name, x)) is Named
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(2, 3))
        for name in oracle.FUNCTIONS:
            assert oracle.call(name, fake).shape == (2, 3)


def exported(torch, function, x, **options):
    return torch.export.export(module_of(torch, function), x, **options)


def alone(function):
    """Make a function of x only: tracers would take the scalars for arguments."""
    return lambda x: function(x)


def decomposed(torch, function, x):
    return exported(torch, function, x).run_decompositions()


EXPORTS = {
    "export": lambda torch, f, x: exported(torch, f, x),
    "strict export": lambda torch, f, x: exported(torch, f, x, strict=True),
    "draft export": lambda torch, f, x: torch.export.draft_export(module_of(torch, f), x),
}


def module_of(torch, function):
    class Net(torch.nn.Module):
        def forward(self, *args):
            return function(*args)

    return Net()


def calls(program):
    """List the operators that a program calls, without those that make constants."""
    nodes = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return [name for name in nodes if not name.startswith(("aten.full", "aten.scalar_tensor"))]


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("recorder", EXPORTS)
@pytest.mark.filterwarnings("ignore")  # tracers warn of torch's own code
def test_an_export_is_one_operator_with_our_derivative(torch, backend, recorder, tracked):
    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5, -0.5)):
        function, vjp = both(name, slope, grad_at_zero)
        with torch.set_grad_enabled(tracked):
            program = EXPORTS[recorder](
                torch, alone(function), (x.clone().requires_grad_(tracked),)
            )
        assert calls(program) == [f"relu_xp.{name}.default"]
        v = x.clone().requires_grad_()
        result = program.module()(v)
        context = f"{name}, {slope}, {grad_at_zero}"
        oracle.assert_same(
            backend.get(result), expected(name, arrays[:1], slope, grad_at_zero), context
        )
        (pulled,) = torch.autograd.grad(result, v, g, create_graph=True)
        oracle.assert_same(
            backend.get(pulled), expected(f"{name}_vjp", arrays, slope, grad_at_zero), context
        )
        again = torch.autograd.grad(pulled, v, torch.ones_like(v))[0]
        finite = np.isfinite(arrays[1])
        assert np.array_equal(again[finite], (second(name, arrays[0])[finite] * arrays[1][finite]))
        module = program.module()
        gradient = torch.func.grad(lambda v, f=module: f(v).sum())
        assert torch.equal(gradient(x), vjp(x, torch.ones_like(x)))


@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
def test_exports_of_every_function(torch, backend):
    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name in oracle.FUNCTIONS:
        given = oracle.arrays_of(name, x, g)
        program = exported(torch, getattr(relu_xp, name), given)
        assert calls(program) == [f"relu_xp.{name}.default"]
        want = oracle.expected(name, oracle.arrays_of(name, *arrays))
        for each in (program, program.run_decompositions()):
            oracle.assert_same(backend.get(each.module()(*given)), want, name)


def trace(torch, function, x):
    program = torch.jit.trace(function, x)
    kinds = [node.kind() for node in program.inlined_graph.nodes()]
    return program, [kind for kind in kinds if kind.startswith("aten::")]


def made_by_fx(torch, function, x, **options):
    import torch.fx.experimental.proxy_tensor

    program = torch.fx.experimental.proxy_tensor.make_fx(function, **options)(*x)
    return program, calls(program)


def taken_apart(torch, function, x):
    program = decomposed(torch, function, x)
    return program.module(), calls(program)


PROGRAMS = {
    "jit.trace": trace,
    "make_fx": made_by_fx,
    "make_fx, symbolic": functools.partial(made_by_fx, tracing_mode="symbolic"),
    "decomposed export": taken_apart,
}


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("way", PROGRAMS)
@pytest.mark.filterwarnings("ignore")  # tracers warn of torch's own code
def test_a_program_for_inference_has_the_values_in_few_operations(torch, backend, way, tracked):
    (a, _) = pairs()
    x = backend.put(a, "cpu")
    for name, slope, grad_at_zero in each((0.01, 0.0, 1.5, -0.5), (1.0, 0.0, 0.5)):
        function, _ = both(name, slope, grad_at_zero)
        with torch.set_grad_enabled(tracked):
            program, operations = PROGRAMS[way](
                torch, alone(function), (x.clone().requires_grad_(tracked),)
            )
        context = f"{name}, {slope}, {grad_at_zero}: {operations}"
        oracle.assert_same(
            backend.get(program(x)), expected(name, (a,), slope, grad_at_zero), context
        )
        assert 1 <= len(operations) <= 3, context
        if slope >= 0:  # on a CPU `where` takes sixty times as long as other kernels
            assert not [each for each in operations if "where" in each], context


@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
def test_programs_with_slopes_of_tensors(torch, backend):
    (a, _) = pairs()
    x = backend.put(a, "cpu").reshape(7, 9)
    s = torch.linspace(0.1, 0.9, 9)
    want = relu_xp.leaky_relu(x, s).numpy()

    def function(x, s):
        return relu_xp.leaky_relu(x, s)

    program = exported(torch, function, (x, s))
    assert calls(program)[-1:] == ["relu_xp.leaky_relu.slopes"]
    oracle.assert_same(program.module()(x, s).numpy(), want)
    v, t = x.clone().requires_grad_(), s.clone().requires_grad_()
    got = torch.autograd.grad(program.module()(v, t), (v, t), torch.ones_like(x))
    due = torch.autograd.grad(relu_xp.leaky_relu(v, t), (v, t), torch.ones_like(x))
    for one, other in zip(got, due, strict=True):
        oracle.assert_same(one.numpy(), other.numpy())
    for way in PROGRAMS:
        program, operations = PROGRAMS[way](torch, function, (x, s))
        oracle.assert_same(program(x, s).numpy(), want, way)
        assert (
            len([each for each in operations if "assert" not in each and "view" not in each]) <= 3
        ), operations


@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
def test_an_export_is_saved_and_loaded_where_the_operators_are_known(torch, tmp_path):
    x = torch.tensor([1.5, -2.0, 0.0])
    file = tmp_path / "program.pt2"
    torch.export.save(exported(torch, alone(relu_xp.relu), (x,)), file)
    code = f"""
import torch, relu_xp.torch
x = torch.tensor([1.5, -2.0, 0.0], requires_grad=True)
torch.export.load({str(file)!r}).module()(x).sum().backward()
assert x.grad.tolist() == [1.0, 0.0, 1.0]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@NO_COMPILER
@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
@pytest.mark.parametrize("name", VALUES)
def test_an_export_is_compiled_ahead_of_time(torch, backend, name, tmp_path):
    (a, _) = pairs()
    x = backend.put(a, "cpu")
    program = exported(torch, alone(getattr(relu_xp, name)), (x,))
    package = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "program.pt2")
    )
    compiled = torch._inductor.aoti_load_package(package)
    oracle.assert_same(backend.get(compiled(x)), oracle.expected(name, (a,)))


def test_a_gradient_is_recorded_as_ours(torch, backend):
    """make_fx of a gradient gives a program that computes the definition's VJP."""
    from torch.fx.experimental.proxy_tensor import make_fx

    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5)):
        function, _ = both(name, slope, grad_at_zero)
        pull = make_fx(functools.partial(WAYS["func.vjp"], torch, function))(x, g)
        want = expected(f"{name}_vjp", arrays, slope, grad_at_zero)
        oracle.assert_same(backend.get(pull(x, g)), want, f"{name}, {slope}, {grad_at_zero}")


def test_an_operator_within_transforms(torch):
    """The result would be zeros if torch.func lost one of two nested transforms."""
    x = torch.tensor([1.5, -2.0, 0.0, -0.0])
    operator_, public = torch.ops.relu_xp.relu, relu_xp.relu
    for function in (lambda x: operator_(x, 1.0), public):
        squares = torch.func.hessian(lambda x, f=function: (f(x) ** 2).sum())
        assert squares(x).diagonal().tolist() == [2.0, 0.0, 2.0, 2.0]
        assert torch.func.functionalize(torch.func.grad(lambda x, f=function: f(x).sum()))(
            x
        ).tolist() == [1, 0, 1, 1]
        with pytest.raises(
            NotImplementedError,
            match=r"relu_xp\.relu: torch\.func\.functionalize takes one derivative",
        ):
            torch.func.functionalize(squares)(x)
    slopes = torch.tensor([0.5, 0.25])
    for function in (
        torch.ops.relu_xp.leaky_relu.slopes,
        lambda x, s, z: relu_xp.leaky_relu(x, s, grad_at_zero=z),
    ):
        by_slope = torch.func.grad(lambda s, f=function: f(x, s, 1.0).sum())
        assert torch.func.vmap(by_slope)(slopes).tolist() == [-2.0, -2.0]
    with pytest.raises(ValueError, match=r"relu_xp\.leaky_relu: negative_slope must be finite"):
        torch.ops.relu_xp.leaky_relu(x, NAN, 1.0)
    half = torch.tensor([-1.0], dtype=torch.float16)
    assert torch.ops.relu_xp.leaky_relu(half, 0.3, 1.0).item() == -np.float16(0.3)


def test_operators_check_who_calls_them(torch):
    """Anybody may call an operator, and the loops trust the addresses they are given."""
    ops, ones = torch.ops.relu_xp, torch.ones(3)
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same shape"
    ):
        ops.relu_vjp(ones, torch.ones(1), 1.0)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same dtype"
    ):
        ops.relu_vjp(ones, ones.half(), 1.0)
    with pytest.raises(ValueError, match=r"relu_xp\.leaky_relu: negative_slope must broadcast"):
        ops.leaky_relu.slopes(ones, torch.ones(2), 1.0)
    assert ops.leaky_relu.slopes(-ones, torch.tensor([0.5, 0.25, 2.0]).double(), 1.0).tolist() == [
        -0.5,
        -0.25,
        -2.0,
    ]
    assert ops.relu(torch.tensor([-3, 3]), 1.0).tolist() == [0, 3]


def test_memory_that_is_none(torch):
    zeros = torch._efficientzerotensor((3,))
    assert relu_xp.relu_vjp(torch.ones(3), zeros).tolist() == [0.0] * 3
    assert relu_xp.leaky_relu(torch.empty(2, 0), torch.empty(0)).shape == (2, 0)


def test_second_derivatives_of_batched_gradients(torch):
    a = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    options = {"is_grads_batched": True, "create_graph": True}
    (rows,) = torch.autograd.grad(relu_xp.squared_relu(a), a, torch.eye(3), **options)
    loss = (rows.sum(0) * torch.tensor([1.0, 2.0, 3.0])).sum() + (a**2).sum()
    assert torch.autograd.grad(loss, a)[0].tolist() == [-2.0, 8.0, 12.0]
    s = torch.tensor(0.5, requires_grad=True)
    (rows,) = torch.autograd.grad(relu_xp.leaky_relu(a, s), a, torch.eye(3), **options)
    assert torch.autograd.grad(rows.sum(), s)[0].item() == 1.0


def test_what_is_recorded_before_dispatch(torch):
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.tensor([1.5, -2.0, 0.0, 7.0])
    for name in VALUES:
        function = getattr(relu_xp, name)
        program = make_fx(alone(function), pre_dispatch=True)(x)
        assert torch.equal(program(-x), function(-x))


def test_a_program_recorded_before_dispatch_has_the_derivative_at_zero(torch):
    """Also if an earlier call has left a plan: its kernel is one whose derivative there is 0."""
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.tensor([-1.0, 0.0, 1.0])
    relu_xp.relu(x)
    program = make_fx(alone(relu_xp.relu), pre_dispatch=True)(x)
    x.requires_grad_()
    assert torch.autograd.grad(program(x).sum(), x)[0].tolist() == [0.0, 1.0, 1.0]


def test_a_mode_that_watches_changes_no_value(torch):
    from torch.utils.flop_counter import FlopCounterMode

    x, s = torch.tensor([0.0, 0.0, 0.0, -0.0]), torch.tensor([-1.0, INF, NAN, -2.0])
    want = relu_xp.leaky_relu(x, s).numpy()
    with FlopCounterMode(display=False):
        oracle.assert_same(relu_xp.leaky_relu(x, s).numpy(), want)


OF_ONNX = {
    "relu": ["Relu"],
    "leaky_relu": ["LeakyRelu"],
    "clipped_relu": ["Clip"],
    "squared_relu": ["Relu", "Mul"],
}


@pytest.mark.filterwarnings("ignore")  # torch deprecates the older exporter
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_onnx_gets_its_own_operators(torch, name, dynamo):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime: not installed")
    onnx = pytest.importorskip("onnx", reason="onnx: not installed")
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript: not installed")
    import io

    for dtype in (torch.float32, torch.float16):
        x = torch.tensor(POINTS * 4, dtype=dtype)  # whole vector registers and a tail
        args = oracle.arrays_of(name, x)
        want = getattr(relu_xp, name)(*args).numpy()
        file = io.BytesIO()
        torch.onnx.export(
            module_of(torch, getattr(relu_xp, name)), args, file, dynamo=dynamo, verbose=False
        )
        nodes = [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node]
        if name in OF_ONNX:
            assert [each for each in nodes if each != "Constant"] == OF_ONNX[name]
        session = onnxruntime.InferenceSession(file.getvalue())
        (got,) = session.run(
            None, {each.name: a.numpy() for each, a in zip(session.get_inputs(), args, strict=True)}
        )
        zero = want.dtype.type(0)  # -0.0 + 0.0 is 0.0: the sign of a zero may differ
        oracle.assert_same(got + zero, want + zero, f"{name}, {dtype}")


@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
@pytest.mark.parametrize("dynamo", [True, False])
def test_onnx_gets_slopes(torch, dynamo):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime: not installed")
    onnx = pytest.importorskip("onnx", reason="onnx: not installed")
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript: not installed")
    import io

    s = torch.tensor([0.25, -0.5, 0.1, 0.3])
    whole = torch.tensor(POINTS[:8] * 5)
    cases = [
        ((10, 4), s),
        ((2, 4, 5), s.reshape(4, 1)),
        ((40,), s[:1]),
        ((4, 10), s[0]),
        ((4, 10), s.reshape(4, 1)),
    ]
    for shape, slopes in cases:
        x, file = whole.reshape(shape), io.BytesIO()
        net = module_of(torch, lambda x, s=slopes: relu_xp.leaky_relu(x, s))
        torch.onnx.export(net, (x,), file, dynamo=dynamo, verbose=False)
        nodes = [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node]
        assert ("PRelu" in nodes) == (slopes.shape != (4, 1) or shape != (4, 10)), nodes
        session = onnxruntime.InferenceSession(file.getvalue())
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        # -0.0 and 0.0 count as equal here.
        np.testing.assert_array_equal(got, relu_xp.leaky_relu(x, slopes).numpy())


def test_second_derivatives(torch):
    for n in (4, 1 << 16):
        for lowest in (-1.0, 0.0):  # the second makes zeros
            data = torch.randn(n).clamp(lowest)
            for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0, 0.5)):
                function, vjp = both(name, slope, grad_at_zero)
                x = data.clone().requires_grad_()
                (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
                want = second(name, data.numpy())
                assert np.array_equal(torch.autograd.grad(first.sum(), x)[0], want)
                (of_vjp,) = torch.autograd.grad(vjp(x, x.detach()).sum(), x)
                assert np.array_equal(of_vjp, want * data.numpy())
                grad = getattr(relu_xp, f"{name}_grad")
                assert np.array_equal(torch.autograd.grad(grad(x).sum(), x)[0], want)


SLOPE_SHAPES = [(), (4,), (2, 1), (1, 1), (2, 4)]


def slope_gradient(torch, x, g, s):
    """Give the gradient in a slope: one product an element, summed to the slope's shape."""
    return torch.where(x < 0, x * g, torch.zeros_like(x)).sum_to_size(s.shape).to(s.dtype)


def learned(torch, way, function, x, s, g):
    if way == "func.vjp":
        return torch.func.vjp(function, x, s)[1](g)
    if way in ("aot_eager", "inductor"):
        torch.compiler.reset()
        function = torch.compile(function, fullgraph=True, backend=way)
    if way == "export":
        function = exported(torch, function, (x, s)).module()
    x, s = x.clone().requires_grad_(), torch.nn.Parameter(s.clone())
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        return torch.autograd.grad(function(x, s), (x, s), g, create_graph=way == "create_graph")


@pytest.mark.parametrize(
    "way", ["autograd", "create_graph", "func.vjp", "aot_eager", INDUCTOR, "autocast", "export"]
)
def test_a_slope_is_learned(torch, way):
    x = torch.tensor([[1.5, -2.0, 0.0, -0.0], [NAN, INF, -INF, -1e-7]])
    g = torch.tensor([[1.0, 2.0, -0.0, 3.0], [4.0, 5.0, 6.0, -INF]])
    for shape in SLOPE_SHAPES:
        for dtype in (torch.float32, torch.float64):
            s = torch.linspace(-0.5, 0.9, int(np.prod(shape))).reshape(shape).to(dtype)
            for z in (1.0, 0.0, -0.5):
                by_x, by_s = learned(
                    torch, way, lambda x, s, z=z: relu_xp.leaky_relu(x, s, grad_at_zero=z), x, s, g
                )
                oracle.assert_same(
                    by_s.detach().numpy(), slope_gradient(torch, x, g, s).numpy(), f"{shape}, {z}"
                )
                slopes = s.float().expand(x.shape)
                elements = zip(x.reshape(-1, 1), g.reshape(-1, 1), slopes.ravel(), strict=True)
                one_by_one = [
                    relu_xp.leaky_relu_vjp(a, b, float(slope), grad_at_zero=z)
                    for a, b, slope in elements
                ]
                want = torch.stack(one_by_one).reshape(x.shape)
                oracle.assert_same(by_x.detach().numpy(), want.numpy(), f"{shape}, {z}")
                oracle.assert_same(
                    relu_xp.leaky_relu_vjp(x, g, s, grad_at_zero=z).numpy(), want.numpy()
                )


def test_a_slope_is_learned_in_the_derivatives_and_forward_mode(torch):
    x, g = (
        torch.tensor([[1.5, -2.0, 3.0], [-1.0, 2.0, -0.5]]),
        torch.tensor([[1.0, 2.0, -1.0], [3.0, 4.0, 5.0]]),
    )
    s = torch.tensor([0.25, 0.5, -0.5], requires_grad=True)
    assert torch.autograd.grad(relu_xp.leaky_relu_grad(x, s), s, g)[0].tolist() == [3.0, 2.0, 5.0]
    assert torch.autograd.grad(relu_xp.leaky_relu_vjp(x, g, s), s, g)[0].tolist() == [
        9.0,
        4.0,
        25.0,
    ]
    value, tangent = torch.func.jvp(
        lambda s: relu_xp.leaky_relu(x, s), (s.detach(),), (torch.ones(3),)
    )
    assert torch.equal(value, relu_xp.leaky_relu(x, s))
    assert tangent.tolist() == [[0.0, -2.0, 0.0], [-1.0, 0.0, -0.5]]
    double = x.double().requires_grad_(), s.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(relu_xp.leaky_relu, double, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(relu_xp.leaky_relu, double)


def tangents_in_a_slope(torch, function, s, ds):
    """Give the tangent of function(s), taken in each of several ways."""
    from torch.autograd import forward_ad

    yield torch.func.jvp(function, (s,), (ds,))[1]
    with forward_ad.dual_level():
        yield forward_ad.unpack_dual(function(forward_ad.make_dual(s, ds))).tangent.clone()
    yield torch.func.vmap(lambda s: torch.func.jvp(function, (s,), (ds,))[1])(s[None])[0]


@pytest.mark.parametrize("grad_at_zero", [1.0, 0.0, 0.5, 0.25])
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_forward_mode_in_a_slope_at_every_point(torch, backend, dtype, grad_at_zero):
    """Every point of x, such as inf, NaN and -0.0, meets every tangent of the slope."""
    arrays = pairs(dtype)
    x, ds = (backend.put(a, "cpu") for a in arrays)
    s = torch.full_like(x, 0.25)

    def assert_equal(got, want):
        zero = want.dtype.type(0)  # -0.0 + 0.0 is 0.0: autodiff promises no sign of a zero
        oracle.assert_same(backend.get(got) + zero, want + zero)

    def value(s):
        return relu_xp.leaky_relu(x, s, grad_at_zero=grad_at_zero)

    for tangent in tangents_in_a_slope(torch, value, s, ds):
        assert_equal(tangent, oracle.expected("leaky_relu_slope_vjp", arrays))
    g = backend.put(arrays[1][::-1].copy(), "cpu")
    # A VJP multiplies by the slope where x < 0 or NaN.
    by_slope = backend.get(torch.where(x >= 0, torch.zeros_like(x), g * ds))
    for tangent in tangents_in_a_slope(
        torch, lambda s: relu_xp.leaky_relu_vjp(x, g, s, grad_at_zero=grad_at_zero), s, ds
    ):
        assert_equal(tangent, by_slope)
    dx = ds.flip(0)
    both = torch.func.jvp(
        lambda x, s: relu_xp.leaky_relu(x, s, grad_at_zero=grad_at_zero), (x, s), (dx, ds)
    )[1]
    by_x = expected("leaky_relu_vjp", (arrays[0], backend.get(dx)), 0.25, grad_at_zero)
    assert_equal(both, by_x + oracle.expected("leaky_relu_slope_vjp", arrays))


@pytest.mark.parametrize("way", ["autograd", "forward_ad", "func.vjp", "func.jvp"])
def test_the_gradient_in_a_slope_is_differentiated_at_every_point(torch, way):
    """It is x * g where x < 0. Elsewhere no NaN or infinity meets the zero that is selected."""
    x, g = map(torch.from_numpy, pairs())
    h = g.flip(0)
    is_active, zero = x < 0, torch.zeros_like(x)
    for function, given, factor in (
        (lambda x: relu_xp.leaky_relu_slope_vjp(x, g), x, g),
        (lambda g: relu_xp.leaky_relu_slope_vjp(x, g), g, x),
    ):
        got = WAYS[way](torch, function, given, h)
        np.testing.assert_array_equal(got, torch.where(is_active, factor * h, zero))


def test_slopes_that_are_refused(torch):
    x = torch.ones(2, 3)
    for s, error, words in (
        (torch.ones(2), ValueError, "negative_slope must broadcast to the shape of x"),
        (torch.ones(1, 2, 3), ValueError, "negative_slope must broadcast to the shape of x"),
        (
            torch.ones(3, dtype=torch.int32),
            TypeError,
            "negative_slope must have a real floating dtype",
        ),
        (torch.ones(3, device="meta"), ValueError, "must be on the same device"),
        (np.ones(3), TypeError, "negative_slope must be a real number"),
    ):
        with pytest.raises(error, match=rf"^relu_xp\.leaky_relu: .*{words}|{words}"):
            relu_xp.leaky_relu(x, s)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: grad_at_zero must be a real number"):
        relu_xp.relu(x, grad_at_zero=torch.tensor(1.0))


def test_compiled_numbers_that_are_ints_or_change(torch):
    torch.compiler.reset()
    x = torch.tensor([1.0, -2.0, 0.0], requires_grad=True)
    compiled = torch.compile(
        lambda x, s, z: relu_xp.leaky_relu(x, s, grad_at_zero=z),
        fullgraph=True,
        backend="aot_eager",
    )
    for s, z in ((1, 1), (2, 0), (0.5, 3), (0.25, 0.5), (0.75, 2.0), (3, 0.125)):
        result = compiled(x, s, z)
        assert result.tolist() == [1.0, -2.0 * s, 0.0]
        assert torch.autograd.grad(result.sum(), x)[0].tolist() == [1.0, s, z]


@pytest.mark.parametrize("bad", [NAN, INF, 1e39, True, "a"])
def test_compiled_numbers_that_are_bad(torch, bad):
    x = torch.ones(3)
    with pytest.raises((TypeError, ValueError)) as eager:
        relu_xp.leaky_relu(x, bad)
    torch.compiler.reset()
    with pytest.raises(type(eager.value), match=r"relu_xp\.leaky_relu: negative_slope must be"):
        torch.compile(lambda x: relu_xp.leaky_relu(x, bad), backend="eager")(x)
    torch.compiler.reset()
    with pytest.raises(Exception, match=r"relu_xp\.leaky_relu: negative_slope must be|must be"):
        torch.compile(lambda x: relu_xp.leaky_relu(x, bad), backend="eager", fullgraph=True)(x)


def test_out_where_nothing_is_tracked_but_much_is_watched(torch):
    x = torch.tensor([1.0, -2.0, 0.0])

    def into(x):
        out = torch.zeros(3)
        relu_xp.relu(x, out=out)
        return out + 1

    assert torch.func.functionalize(into)(x).tolist() == [2.0, 1.0, 1.0]
    with torch.autograd.forward_ad.dual_level():
        assert relu_xp.relu(x, out=torch.zeros(3)).tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(TypeError, match="out cannot be written"):
        torch.func.grad(lambda v: into(v).sum())(x)


def test_layouts_of_derivatives_are_those_that_torch_gives(torch):
    whole = torch.arange(-60.0, 60.0).reshape(1, 2, 3, 4, 5)
    last = whole.contiguous(memory_format=torch.channels_last_3d)
    for name, own in (("relu", torch.relu), ("leaky_relu", torch.nn.functional.leaky_relu)):
        for x in (whole, last):
            for g in (whole, last):
                v = x.clone().requires_grad_()
                ours, theirs = (
                    torch.autograd.grad(f(v), v, g)[0] for f in (getattr(relu_xp, name), own)
                )
                assert ours.stride() == theirs.stride() or ours.stride() == x.stride()
                assert getattr(relu_xp, f"{name}_vjp")(x, g).stride() == x.stride()


@pytest.fixture(params=[1, 2])
def threads(torch, request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


# Below and above the limit of the hooks, and odd sizes.
SIZES = (1, 7, 1000, 1 << 15, (1 << 15) + 1, (1 << 17) + 1)


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_the_fast_way_is_left_where_elements_need_it(torch, backend, dtype, threads):
    """The last of many elements are zeros, NaN or subnormal."""
    normal = np.random.default_rng(0).normal(size=max(SIZES)).astype(dtype)
    least = np.nextafter(dtype.type(0), dtype.type(1))
    for n in SIZES[:5] if threads == 1 else SIZES[3:]:
        g = np.full(n, -3.0, dtype)
        for specials in (
            [],
            [0.0],
            [-0.0],
            [NAN],
            [-NAN],
            [-0.0, NAN],
            [0.0, -0.0, -NAN],
            [least, -least],
        ):
            a = normal[:n].copy()
            a[n - len(specials[:n]) :] = specials[:n]
            for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5)):
                if n > 1000 and (name not in ("relu", "leaky_relu") or slope < 0):
                    continue
                function, _ = both(name, slope, grad_at_zero)
                x = backend.put(a, "cpu").requires_grad_()
                y = function(x)
                (got,) = torch.autograd.grad(y, x, backend.put(g, "cpu"))
                context = f"{name}, {slope}, {grad_at_zero}, {n}, {specials}"
                oracle.assert_same(
                    backend.get(y), expected(name, (a,), slope, grad_at_zero), context
                )
                want = expected(f"{name}_vjp", (a, g), slope, grad_at_zero)
                oracle.assert_same(backend.get(got), want, context)


def test_exceptions_of_floats_are_not_told(torch):
    """A loop sets floating-point flags: nobody reports them, and the next NumPy call does not."""
    x, g = torch.tensor([-1e38, 1.0]), torch.tensor([1e38, 1e38])
    with np.errstate(all="raise"):
        assert relu_xp.leaky_relu_slope_vjp(x, g).tolist() == [-INF, 0.0]
        assert relu_xp.relu(np.array([-1.0])).tolist() == [0.0]


@pytest.mark.parametrize("n", SIZES)
def test_what_the_derivative_needs_and_is_written_to_is_an_error(torch, threads, n):
    for name in VALUES:
        x = torch.randn(n, requires_grad=True) + 0.0
        y = getattr(relu_xp, name)(x)
        x.add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("n", SIZES)
def test_one_tensor_is_kept_for_the_backward_pass(torch, threads, n):
    """The hooks too keep x alone: the mask that stands for it is made in the backward pass."""
    for name in VALUES:
        x = torch.randn(n, requires_grad=True) + 0.0
        y = getattr(relu_xp, name)(x)
        kept = {
            each.data_ptr()
            for each in gc.get_objects()
            if type(each) is torch.Tensor and each.nbytes == x.nbytes
        }
        assert {x.data_ptr(), y.data_ptr()} <= kept
        del x
        after = {
            each.data_ptr()
            for each in gc.get_objects()
            if type(each) is torch.Tensor and each.nbytes == y.nbytes
        }
        assert after <= kept
        y.sum().backward()


@pytest.mark.parametrize("n", SIZES)
def test_what_is_saved_may_be_kept_elsewhere(torch, n):
    """The caller's hooks, as those of an offload or a checkpoint, are used in place of ours."""
    for name in ("relu", "leaky_relu"):
        x, packed = torch.randn(n).clamp(0.0).requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, p=packed: p.append(t) or t.clone(), lambda t: t
        ):
            y = getattr(relu_xp, name)(x)
        assert len(packed) == 1
        y.sum().backward()
        assert x.grad.tolist() == [1.0] * n


@pytest.mark.parametrize("when", ["always", "in the backward pass", "in other threads"])
def test_subnormals_may_be_zeros(torch, threads, when):
    """No way to compute may rely on a subnormal to tell 0 from what is below."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor knows no such mode")
    try:
        torch.zeros(1 << 20).add_(1)  # torch's other threads take the mode over
        for n in SIZES:
            for name, slope, grad_at_zero in each((0.01,), (1.0, 0.0)):
                function, _ = both(name, slope, grad_at_zero)
                x = torch.linspace(-1.0, 1.0, n)
                x[-1:] = 0.0
                x.requires_grad_()
                torch.set_flush_denormal(when == "always")
                y = function(x)
                torch.set_flush_denormal(when != "in other threads")
                (got,) = torch.autograd.grad(y, x, torch.full((n,), 3.0))
                torch.set_flush_denormal(False)
                want = expected(
                    f"{name}_vjp",
                    (x.detach().numpy(), np.full(n, 3, np.float32)),
                    slope,
                    grad_at_zero,
                )
                oracle.assert_same(got.numpy(), want, f"{name} {grad_at_zero} {n}")
    finally:
        torch.set_flush_denormal(False)
        torch.zeros(1 << 20).add_(1)


def test_a_cotangent_has_a_tangent(torch):
    """Forward mode over reverse mode: the cotangent is a dual number."""
    from torch.autograd import forward_ad

    for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0, 0.5)):
        for n in SIZES[1:]:
            function, vjp = both(name, slope, grad_at_zero)
            x = torch.linspace(-2.0, 1.0, n).requires_grad_()
            y = function(x)
            with forward_ad.dual_level():
                g = forward_ad.make_dual(torch.ones(n), torch.full((n,), 3.0))
                got = forward_ad.unpack_dual(torch.autograd.grad(y, x, g)[0]).tangent
            assert torch.equal(got, vjp(x.detach(), torch.full((n,), 3.0))), (
                name,
                slope,
                grad_at_zero,
                n,
            )


def test_inside_of_an_operation_nothing_is_recorded(torch):
    w = torch.nn.Parameter(torch.tensor([-1.0, 0.0, 2.0]))

    @torch.library.custom_op("relu_xp_tests::all_of_them", mutates_args=())
    def all_of_them(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([getattr(relu_xp, name)(w) * x for name in VALUES])

    want = torch.stack([getattr(relu_xp, name)(w.detach()) for name in VALUES])
    assert torch.equal(all_of_them(torch.ones(3)), want)


FIRST = """
import torch, relu_xp
from torch._subclasses.fake_tensor import FakeTensorMode
with {mode}:
    assert relu_xp.relu(torch.randn(5, requires_grad=True)).shape == (5,)
x = torch.zeros(5, requires_grad=True)
relu_xp.relu(x).sum().backward()
assert x.grad.tolist() == [1.0] * 5
"""


@pytest.mark.parametrize("mode", ["torch.device('meta')", "FakeTensorMode()"])
def test_the_first_call_may_be_on_tensors_without_elements(torch, mode):
    done = subprocess.run(
        [sys.executable, "-c", FIRST.format(mode=mode)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


ODD = """
import torch, relu_xp
x = torch.tensor([1.0, -2.0, 0.0])
{first}
torch.set_default_dtype(torch.float32)
for n in (3, 100_000):
    x, g = torch.full((n,), -1.0), torch.ones(n)
    for function in (relu_xp.relu, relu_xp.leaky_relu, relu_xp.clipped_relu, relu_xp.squared_relu):
        a = x.clone().requires_grad_()
        function(a).backward(g)
        assert a.grad.dtype == torch.float32 and a.grad.is_cpu
    assert relu_xp.leaky_relu_vjp(x, g, 0.5).tolist() == [0.5] * n
"""


@pytest.mark.parametrize(
    "first",
    [
        "torch.func.functionalize(relu_xp.relu)(x)",
        "torch.func.vmap(torch.func.grad(relu_xp.relu))(x)",
        "torch.set_default_dtype(torch.float64); relu_xp.leaky_relu(x, 0.5)",
        "with torch.inference_mode(): relu_xp.relu_vjp(x, x)",
    ],
)
def test_the_first_call_may_be_in_an_odd_place(torch, first):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ODD.format(first=first)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def calls_of(function):
    """List what a second call of a function calls: names with their modules, C functions too."""
    found = []

    def note(frame, event, called):
        if event == "call":
            found.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}")
        elif event == "c_call":
            found.append(f"{getattr(called, '__module__', None)}.{called.__name__}")

    function()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


KERNELS = {"relu": "torch.threshold", "leaky_relu": "torch._C._nn.leaky_relu"}
LOOP, LOOP_WITH_SLOPES = (f"relu_xp._native._ufuncs.{name}" for name in ("run", "run_rows"))
SLOW = (
    "relu_xp._backends.torch._checked_call",
    "relu_xp._backends._torch_kernels.in_kernels",
    "relu_xp._backends._torch_kernels.formula",
)


@pytest.fixture
def loops(torch):
    """Skip a test where relu_xp was installed without its loops."""
    return pytest.importorskip("relu_xp._native._ufuncs", reason="no compiled loops")


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_a_call_like_one_before_is_one_kernel_or_one_loop(torch, loops, name):
    whole = torch.randn(2, 3, 4, 5)
    last = whole.contiguous(memory_format=torch.channels_last)
    x, one_g = torch.randn(16), torch.ones(()).expand(16)
    layouts = [(x, x), (x, one_g), (last, last)]
    for scalars in ({}, {each.name: 0.5 for each in RECORDS[name].parameters}):
        for arrays in layouts:
            given = oracle.arrays_of(name, *arrays)
            found = calls_of(lambda a=given, s=scalars: getattr(relu_xp, name)(*a, **s))
            assert not set(SLOW) & set(found), found
            if name in KERNELS:
                assert KERNELS[name] in found
                # The plan calls the kernel itself: nothing asks for gradients.
                assert "relu_xp._backends.torch._compute_differentiably" not in found
                assert LOOP not in found
            else:
                assert found.count(LOOP) == 1, found


def test_a_tensor_left_over_from_a_transform_takes_the_loop(torch, loops):
    """Its wrapper has no address, but the tensor within has."""
    left = []
    torch.func.grad(lambda v: (left.append(v), v.sum())[1])(torch.randn(16))
    found = calls_of(lambda: relu_xp.squared_relu(left[0]))
    assert found.count(LOOP) == 1
    assert not set(SLOW) & set(found), found


@pytest.mark.parametrize("name", oracle.SLOPED)
def test_a_call_with_slopes_is_one_loop(torch, loops, name):
    x, slopes = torch.randn(2, 3, 4), torch.rand(3, 1)
    arrays = oracle.arrays_of(name, x)
    found = calls_of(lambda: getattr(relu_xp, name)(*arrays, slopes))
    assert not set(SLOW) & set(found), found
    assert found.count(LOOP_WITH_SLOPES) == 1


def test_many_elements_are_shared_among_threads(torch, loops):
    before, n = torch.get_num_threads(), 1 << 21
    in_threads = "relu_xp._backends._torch_kernels._loop_in_threads"
    try:
        for threads, x in ((2, torch.zeros(n)), (2, torch.zeros(n - 1)), (1, torch.zeros(n))):
            torch.set_num_threads(threads)
            is_shared = threads == 2 and len(x) == n
            found = calls_of(lambda x=x: relu_xp.squared_relu(x))
            assert (in_threads in found) == is_shared
    finally:
        torch.set_num_threads(before)


FEW, MANY = 16, 1 << 15  # elements, below and above the limit of the hooks
OURS, THRESHOLD, LEAKY = "_ValueBackward", "ThresholdBackward0", "LeakyReluBackward0"


@pytest.mark.parametrize(
    ("name", "scalars", "n", "node"),
    [
        ("relu", {}, FEW, THRESHOLD),
        ("relu", {"grad_at_zero": 0.0}, FEW, THRESHOLD),
        ("relu", {"grad_at_zero": 0.5}, FEW, OURS),
        ("relu", {}, MANY, OURS),
        ("leaky_relu", {}, FEW, LEAKY),
        ("leaky_relu", {"grad_at_zero": 0.0}, FEW, OURS),
        ("leaky_relu", {}, MANY, OURS),
        ("leaky_relu", {"grad_at_zero": 0.01}, MANY, LEAKY),
        ("leaky_relu", {"negative_slope": -0.5}, FEW, OURS),
        ("clipped_relu", {}, FEW, OURS),
        ("squared_relu", {}, FEW, OURS),
    ],
)
def test_the_node_of_a_tracked_call_is_the_fastest(torch, name, scalars, n, node):
    x = torch.linspace(-1.0, 1.0, n, requires_grad=True)
    results = []
    found = calls_of(lambda: results.append(getattr(relu_xp, name)(x, **scalars)))
    assert type(results[-1].grad_fn).__name__ == node
    # Eagerly an autograd.Function is applied without torch's search for transforms.
    assert "torch.autograd.function.apply" not in found


@pytest.mark.parametrize(("name", "n"), [("relu", FEW), ("relu", MANY), ("clipped_relu", FEW)])
def test_a_backward_pass_is_one_loop(torch, loops, name, n):
    x, g = torch.linspace(-1.0, 1.0, n, requires_grad=True), torch.ones(n)
    # A CPU's backward pass runs in the thread that asks for it.
    found = calls_of(lambda: torch.autograd.grad(getattr(relu_xp, name)(x), x, g))
    in_forward_pass = name not in KERNELS
    assert found.count(LOOP) == 1 + in_forward_pass, found


def operations_under_a_mode(torch, function):
    """List the operations that a dispatch mode sees."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Listing(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            seen.append(operation.name())
            return operation(*args, **(kwargs or {}))

    seen = []
    with Listing():
        function()
    return seen


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("relu", {"aten::threshold"}),
        ("relu_vjp", {"aten::threshold_backward"}),
        ("leaky_relu", {"aten::leaky_relu"}),
        ("leaky_relu_vjp", {"aten::leaky_relu_backward"}),
        ("clipped_relu", {"aten::threshold", "aten::clamp_max"}),
        ("clipped_relu_vjp", {"aten::threshold_backward"}),
        ("squared_relu", {"aten::threshold"}),
        ("squared_relu_vjp", {"aten::threshold_backward"}),
    ],
)
def test_kernels_of_torch_are_used_where_no_loop_is(torch, name, kernels):
    """For a strided x, on other devices, and where a mode watches: `where` is slow on a CPU."""
    strided, meta = torch.ones(3, 4)[:, ::2], torch.ones(3, device="meta")
    for x in (torch.ones(3), meta):
        seen = operations_under_a_mode(torch, lambda x=x: oracle.call(name, x))
        assert kernels <= set(seen)
        assert not [each for each in seen if "where" in each], seen
    for x in (strided, meta):
        found = calls_of(lambda x=x: oracle.call(name, x))
        assert "relu_xp._backends._torch_kernels.formula" not in found


def test_numbers_seen_before_are_told_apart(torch):
    zero = torch.tensor([0.0])
    for z in (0.0, -0.0, 0.0, -0.0):
        assert np.signbit(relu_xp.relu_grad(zero, grad_at_zero=z).item()) == np.signbit(z)
    for _ in range(2):
        assert relu_xp.relu_grad(zero, grad_at_zero=1.0).item() == 1.0
        with pytest.raises(TypeError, match="grad_at_zero must be a real number"):
            relu_xp.relu_grad(zero, grad_at_zero=True)
    for i in range(600):  # more numbers than plans are kept
        assert relu_xp.leaky_relu(torch.tensor([-1.0]), i / 8).item() == -i / 8


IN_A_FRESH_PROCESS = """
import sys, torch, relu_xp
x = torch.tensor([1.0, -2.0, 0.0])
{first}
compiled = torch.compile(relu_xp.relu, fullgraph=True, backend="eager")
assert "relu_xp._backends.torch" not in sys.modules or {first!r}
assert compiled(x).tolist() == [1.0, 0.0, 0.0]
assert relu_xp.relu(x).tolist() == [1.0, 0.0, 0.0]
"""


@pytest.mark.parametrize(
    "first", ["", "relu_xp.relu(x)", "import numpy; relu_xp.relu(numpy.ones(3))"]
)
def test_the_first_array_of_all_may_be_met_anywhere(torch, first):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS.format(first=first)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_private_names_are_there(torch):
    """A failure names what `_torch_private` uses and torch no longer has."""
    from torch._dynamo.variables import functions

    from relu_xp._backends import _torch_private

    names = {
        "torch._C": "_are_functorch_transforms_active _len_torch_dispatch_stack _is_tracing",
        "torch._C._functorch": (
            "get_interpreter_stack TransformType is_legacy_batchedtensor unwrap_if_dead"
        ),
        "torch._functorch.utils": "enable_single_level_autograd_function",
        "torch.autograd.forward_ad": "_current_level",
        "torch._C._autograd": "_top_saved_tensors_default_hooks",
        "torch": "_debug_has_internal_overlap",
    }
    for owner, each in names.items():
        assert [
            n
            for n in each.split()
            if not hasattr(
                operator.attrgetter(owner.partition(".")[2])(torch) if "." in owner else torch, n
            )
        ] == []
    assert hasattr(torch.ops.aten, "_prelu_kernel")
    node = torch.threshold(torch.ones(2, requires_grad=True), 0, 0).grad_fn
    assert hasattr(node._raw_saved_self, "register_hooks")
    assert torch.ones(2)._version == 0
    assert "_dynamo_marked_constant" in inspect.getsource(functions)
    assert _torch_private.eager_apply(torch.autograd.Function) is not None
    source = inspect.getsource(importlib.import_module("relu_xp._backends.torch"))
    # torch.py itself uses no private name.
    assert not re.findall(r"torch(?:\.\w+)*\._\w+|forward_ad\._\w+", source)


def test_devices(torch, backend):
    assert backend.devices()[0] == "cpu"
    for device in backend.devices():
        for dtype in oracle.FLOATS:
            if (device, dtype.name) == ("mps:0", "float64"):
                continue
            x = np.array(POINTS, dtype)
            oracle.assert_same(backend.get(backend.put(x, device)), x)
