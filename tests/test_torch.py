"""What only PyTorch has: autograd in both modes, transforms, compilers, memory formats, tensors of other kinds."""

import functools
import shutil

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _dispatch

# torch's own, about its own use of what it deprecates: on first use of torch.func, in torch.func.linearize, and where
# torch.compile meets an autograd.Function, anybody's
TORCHS_OWN = (".torch.jit", "Attempted to insert a get_attr", ".*autograd.function.Function.*should not be instantiated")
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in TORCHS_OWN]

INF, NAN = np.inf, np.nan
# Each with each, so that x and cotangent meet in every combination, in whole vectors and in their tails.
POINTS = [1.5, -2.0, 0.0, -0.0, NAN, INF, -INF, 1e-7, -1e-7]
COTANGENTS = [1.0, -3.0, 0.0, -0.0, NAN, INF, -INF]
EVERY_GRAD_AT_ZERO = [*oracle.GRADS_AT_ZERO, 2.0, -0.5, 0.01]
VALUES = ("relu", "leaky_relu")


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


def call(name, x, **options):
    return getattr(relu_xp, name)(*((x, x) if name.endswith("vjp") else (x,)), **options)


def both(name, slope=0.01, grad_at_zero=1.0):
    """A function and its VJP, closed over the scalars."""
    scalars = {"grad_at_zero": grad_at_zero, **({"negative_slope": slope} if name.startswith("leaky") else {})}
    return tuple(functools.partial(getattr(relu_xp, n), **scalars) for n in (name, f"{name}_vjp"))


def each(slopes=oracle.SLOPES, grads_at_zero=EVERY_GRAD_AT_ZERO):
    for name in VALUES:
        for slope in slopes if name.startswith("leaky") else (0.01,):
            for grad_at_zero in grads_at_zero:
                yield name, slope, grad_at_zero


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
    "func.vjp of vmap": lambda torch, function, x, g: torch.func.vjp(torch.func.vmap(function), x)[1](g)[0],
    "func.jvp of vmap": lambda torch, function, x, g: torch.func.jvp(torch.func.vmap(function), (x,), (g,))[1],
    "func.linearize": lambda torch, function, x, g: torch.func.linearize(function, x)[1](g),
    "checkpoint": lambda torch, function, x, g: reverse(
        torch, functools.partial(torch.utils.checkpoint.checkpoint, function, use_reentrant=False), x, g
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_derivatives_equal_the_vjp(torch, backend, way, dtype):
    arrays = pairs(dtype)
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each():
        function, vjp = both(name, slope, grad_at_zero)
        want = oracle.expected(f"{name}_vjp", arrays, slope, grad_at_zero)
        context = f"{name}, slope {slope}, grad_at_zero {grad_at_zero}"
        oracle.assert_same(backend.get(vjp(x, g)), want, context)
        oracle.assert_same(backend.get(WAYS[way](torch, function, x, g)), want, context)


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_tracking_changes_no_value(torch, backend, dtype):
    for n in range(131):
        x = np.resize(np.array(POINTS, dtype), n)
        for name, slope, grad_at_zero in each(grads_at_zero=EVERY_GRAD_AT_ZERO if n < 40 else (1.0,)):
            function, _ = both(name, slope, grad_at_zero)
            plain, tracked = function(backend.put(x, "cpu")), function(backend.put(x, "cpu").requires_grad_())
            assert (plain.requires_grad, tracked.requires_grad) == (False, True)
            want = oracle.expected(name, (x,), slope, grad_at_zero)
            for result in (plain, tracked):
                oracle.assert_same(backend.get(result), want, f"{name}, {slope}, {grad_at_zero}, {n}")


@pytest.mark.parametrize("dtype", oracle.FLOATS[:2], ids=str)
@pytest.mark.parametrize("way", ["autograd", "forward_ad"])
def test_every_pattern_of_16_bits(torch, backend, dtype, way):
    every = oracle.patterns(dtype)
    shuffled = np.random.default_rng(0).permutation(every)
    x, g = (backend.put(a, "cpu") for a in (every, shuffled))
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.5)):
        function, _ = both(name, slope, grad_at_zero)
        want = oracle.expected(f"{name}_vjp", (every, shuffled), slope, grad_at_zero)
        oracle.assert_same(backend.get(WAYS[way](torch, function, x, g)), want, f"{name}, {slope}, {grad_at_zero}")
        value = oracle.expected(name, (every,), slope, grad_at_zero)
        oracle.assert_same(backend.get(function(x.clone().requires_grad_())), value)


@pytest.mark.parametrize("grad_at_zero", EVERY_GRAD_AT_ZERO)
@pytest.mark.parametrize("slope", oracle.SLOPES)
def test_a_derivative_is_that_of_one(backend, slope, grad_at_zero):
    x = np.array(POINTS * 9, np.float32)
    for name in ("relu_grad", "leaky_relu_grad"):
        scalars = {"grad_at_zero": grad_at_zero, **({"negative_slope": slope} if name.startswith("leaky") else {})}
        got = getattr(relu_xp, name)(backend.put(x, "cpu"), **scalars)
        oracle.assert_same(backend.get(got), oracle.expected(name, (x,), slope, grad_at_zero))


def test_double_backward(torch):
    x = torch.tensor([1.5, -2.0, 0.0], requires_grad=True)
    g = torch.tensor([2.0, -3.0, 5.0], requires_grad=True)
    for name, slope, grad_at_zero in each((0.25, -0.5)):
        function, vjp = both(name, slope, grad_at_zero)
        (pulled,) = torch.autograd.grad(function(x), x, g, create_graph=True)
        by_x, by_g = torch.autograd.grad(pulled, (x, g), torch.ones(3), allow_unused=True, retain_graph=True)
        assert by_x is None or not by_x.any()
        assert by_g.tolist() == vjp(x.detach(), torch.ones(3)).tolist()
        (of_vjp,) = torch.autograd.grad(vjp(x, g), g, torch.ones(3))
        assert of_vjp.tolist() == by_g.tolist()
        (of_square,) = torch.autograd.grad((pulled**2).sum(), g)
        assert of_square.tolist() == (2 * pulled * by_g).tolist()


def test_numerical_gradients(torch):
    x = torch.tensor([1.5, -2.0, 0.75], dtype=torch.float64, requires_grad=True)
    for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0)):
        function, _ = both(name, slope, grad_at_zero)
        options = {"check_batched_grad": True, "check_batched_forward_grad": True, "check_forward_ad": True}
        assert torch.autograd.gradcheck(function, x, **options)
        assert torch.autograd.gradgradcheck(function, x)


def test_jacobians_and_hessian(torch):
    x = torch.tensor([1.5, -2.0, 0.0, -0.0])
    for name, slope, grad_at_zero in each((0.25, -0.5), (1.0, 0.0, 0.5, -0.5)):
        function, vjp = both(name, slope, grad_at_zero)
        slopes = vjp(x, torch.ones(4)).tolist()
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            assert jacobian(function)(x).diagonal().tolist() == slopes
        assert not torch.func.hessian(lambda v, f=function: f(v).sum())(x).any()
        square = torch.func.hessian(lambda v, f=function: (f(v) ** 2).sum())(x)
        assert square.diagonal().tolist() == [2 * d * d for d in slopes]


def test_nothing_is_tracked_without_gradients(torch):
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    for name in oracle.FUNCTIONS:
        args = (x, x) if name.endswith("vjp") else (x,)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert not getattr(relu_xp, name)(*args).requires_grad
        assert getattr(relu_xp, name)(*args).requires_grad == (not name.endswith("grad"))


def test_memory_kept_for_the_backward_pass(torch):
    x = torch.randn(1000, requires_grad=True)
    for name in VALUES:
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.nbytes), lambda t: t):
            getattr(relu_xp, name)(x)
        assert sum(kept) == 1000  # one byte an element


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

    assert torch.func.grad(loss)(weights)["linear.weight"].tolist() == [[1, -2, 0], [0.25, -0.5, 0], [1, -2, 0]]
    net.load_state_dict(weights)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for slope in (0.25, 0.5, 0.75):  # a float that changes is symbolic from the second on
        net.slope = slope
        assert compiled(x).tolist() == [[1, -2 * slope, 0]]


NO_COMPILER = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor: no C++ compiler"
)
INDUCTOR = pytest.param("inductor", marks=[NO_COMPILER, pytest.mark.filterwarnings("ignore")])  # of its own libraries


@pytest.mark.parametrize("compiler", ["eager", "aot_eager", INDUCTOR])
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_compiles_without_a_graph_break(torch, backend, monkeypatch, compiler, name):
    torch.compiler.reset()
    monkeypatch.setattr(_dispatch, "_OWNERS", {})  # the first call of all may be a compiled one
    arrays = pairs()
    x, g = (backend.put(a, "cpu") for a in arrays)
    inputs = arrays if name.endswith("vjp") else arrays[:1]
    function = torch.compile(getattr(relu_xp, name), fullgraph=True, backend=compiler)
    for _ in range(2):
        result = function(x, g) if name.endswith("vjp") else function(x)
        oracle.assert_same(backend.get(result), oracle.expected(name, inputs, 0.01, 1.0))
    if name in VALUES:
        want = oracle.expected(f"{name}_vjp", arrays, 0.01, 1.0)
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


def test_proxies_are_told_from_tensors(torch):
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: x must be an array or a real number, got torch\.fx"):
        torch.fx.symbolic_trace(relu_xp.relu)


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_with_every_scalar(torch, backend, compiler):
    arrays = pairs(np.float16)
    x, g = (backend.put(a, "cpu") for a in arrays)
    for name, slope, grad_at_zero in each((0.01, -0.5), (1.0, 0.0, 0.01, -0.5)):
        torch.compiler.reset()
        function, _ = both(name, slope, grad_at_zero)
        compiled = torch.compile(function, fullgraph=True, backend=compiler, dynamic=True)
        want = oracle.expected(f"{name}_vjp", arrays, slope, grad_at_zero)
        oracle.assert_same(backend.get(reverse(torch, compiled, x, g)), want, f"{name}, {slope}, {grad_at_zero}")


def test_compiles_transforms(torch):
    torch.compiler.reset()
    x = torch.tensor([1.5, -2.0, 0.0])
    for name in VALUES:
        function, vjp = both(name, 0.25)
        gradient = torch.compile(torch.func.vmap(torch.func.grad(function)), fullgraph=True, backend="aot_eager")
        assert gradient(x).tolist() == vjp(x, torch.ones(3)).tolist()
        tangent = torch.compile(
            lambda x, t, f=function: torch.func.jvp(f, (x,), (t,))[1], fullgraph=True, backend="eager"
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
                assert (function(x, x) if function.func.__name__.endswith("vjp") else function(x)).dtype == x.dtype
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_out_and_gradients(torch, name):
    x, out = torch.tensor([-1.0, 2.0]), torch.zeros(2)
    call = functools.partial(getattr(relu_xp, name), *((x, x) if name.endswith("vjp") else (x,)))
    tracked = pytest.raises(
        TypeError, match=rf"relu_xp\.{name}: out cannot be written where gradients are tracked; leave"
    )
    parameter = torch.nn.Parameter(x.clone())
    of_parameter = functools.partial(call.func, *(parameter,) * len(call.args))
    with tracked:
        call(out=parameter)
    with tracked:
        of_parameter(out=out)
    with tracked, torch.autograd.forward_ad.dual_level():
        call.func(*(torch.autograd.forward_ad.make_dual(x, x),) * len(call.args), out=out)
    with tracked:
        torch.func.vmap(lambda v: call.func(*(v,) * len(call.args), out=torch.zeros(())))(x)
    assert out.tolist() == [0, 0]
    with torch.no_grad():
        assert of_parameter(out=parameter) is parameter
    assert parameter.tolist() == call().tolist()


@pytest.mark.parametrize("name", VALUES)
def test_writing_in_place_is_seen_by_autograd(torch, name):
    x = torch.tensor([-1.0, 2.0])
    w = torch.ones(2, requires_grad=True)
    product = w * x  # keeps x
    getattr(relu_xp, name)(x, out=x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_out_of_other_memory(torch, name):
    memory = torch.arange(-20.0, 20.0)
    x = memory[10:20]
    want = call(name, x.clone())
    for out in (memory[8:18], memory[0:20:2], memory[10:30:2], torch.empty(10, 2)[:, 1]):
        memory.copy_(torch.arange(-20.0, 20.0))
        assert call(name, x, out=out) is out
        assert torch.equal(out, want)
    x = torch.ones(3, 2)
    for out in (torch.zeros(2).expand(3, 2), torch.zeros(1, 1).expand(3, 2)):
        with pytest.raises(
            ValueError, match=rf"relu_xp\.{name}: out is broadcast, its elements share memory; pass out"
        ):
            call(name, x, out=out)
        assert not out.any()


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_devices_do_not_mix(torch, name):
    x, meta = torch.ones(3), torch.ones(3, device="meta")
    assert call(name, meta).device.type == "meta"
    assert call(name, meta, out=meta) is meta
    with pytest.raises(ValueError, match=rf"relu_xp\.{name}: out must be on the device of x, cpu, got meta"):
        call(name, x, out=meta)
    if name.endswith("vjp"):
        with pytest.raises(
            ValueError, match=rf"relu_xp\.{name}: x and cotangent must be on one device, got cpu and meta"
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
    if name.endswith("vjp"):  # in the memory format of x, not of the cotangent
        for z in (1.0, 0.0, 0.01, 0.5):
            last = getattr(relu_xp, name)(layouts["channels last"], whole, grad_at_zero=z)
            assert last.is_contiguous(memory_format=torch.channels_last), z
    for layout, x in layouts.items():
        result = call(name, x.detach().requires_grad_(tracked))
        want = oracle.expected(name, (x.numpy(),) * (1 + name.endswith("vjp")), 0.01, 1.0)
        oracle.assert_same(result.detach().numpy(), want, layout)
        assert result.stride() == (x + x).stride(), layout
        assert result.numel() == 0 or result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr(), layout


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
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
    for x in (quantized, *(torch.ones(3).to(dtype) for dtype in (torch.bool, torch.complex64, *float8))):
        with pytest.raises(TypeError, match=rf"relu_xp\.relu: takes .*, got {x.dtype}; (cast it first|take x\.real)"):
            relu_xp.relu(x)


@pytest.mark.filterwarnings("ignore")  # that sparse layouts and nested tensors are new
@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_layouts_that_are_refused(torch, name):
    x = torch.eye(3)
    nested = [
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=k) for k in (torch.strided, torch.jagged)
    ]
    for other in (x.to_sparse(), x.to_sparse_csr(), x.to_mkldnn(), *nested):
        with pytest.raises(TypeError, match=rf"relu_xp\.{name}: takes dense tensors, got layout (torch\.|nested)"):
            call(name, other)
        with pytest.raises(TypeError, match=rf"relu_xp\.{name}: takes dense .*; pass out\.to_dense\(\)"):
            call(name, x, out=other)
    if name.endswith("vjp"):
        with pytest.raises(TypeError, match=rf"relu_xp\.{name}: takes dense tensors, got layout torch\.sparse_coo"):
            getattr(relu_xp, name)(x, x.to_sparse())


def test_a_parameter_gives_a_tensor(torch):
    for name in oracle.FUNCTIONS:
        assert type(call(name, torch.nn.Parameter(torch.ones(3)))) is torch.Tensor


def test_subclasses_are_treated_as_by_torch(torch):
    class Named(torch.Tensor):
        pass

    x = torch.tensor([-1.0, 2.0]).as_subclass(Named)
    for name in oracle.FUNCTIONS:
        assert type(call(name, x)) is Named
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(2, 3))
        for name in oracle.FUNCTIONS:
            assert call(name, fake).shape == (2, 3)


@pytest.mark.parametrize("name", ["leaky_relu", "leaky_relu_grad", "leaky_relu_vjp"])
def test_a_tensor_is_no_slope(torch, name):
    x = torch.ones(3)
    args = (x, x) if name.endswith("vjp") else (x,)
    with pytest.raises(
        TypeError, match=rf"relu_xp\.{name}: negative_slope must be a real number, got torch\.Tensor; pass"
    ):
        getattr(relu_xp, name)(*args, torch.tensor(0.5))


def test_devices(torch, backend):
    assert backend.devices()[0] == "cpu"
    for device in backend.devices():
        for dtype in oracle.FLOATS:
            if (device, dtype.name) == ("mps:0", "float64"):
                continue
            x = np.array(POINTS, dtype)
            oracle.assert_same(backend.get(backend.put(x, device)), x)
