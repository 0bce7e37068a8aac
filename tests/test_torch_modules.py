"""`relu_xp.torch`: modules with the constructors of torch.nn's, and relu_xp's derivatives."""

import copy
import pickle

import pytest

import relu_xp


@pytest.fixture(scope="module")
def torch(wanted):
    return wanted("torch")


@pytest.fixture(scope="module")
def modules(torch):
    import relu_xp.torch

    return relu_xp.torch


NAMES = ("ReLU", "LeakyReLU", "ReLU6", "PReLU", "SquaredReLU")


def of(modules, name):
    return getattr(modules, name)()


def test_names_are_all_there(modules):
    assert set(modules.__all__) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_the_function(torch, modules, name):
    x = torch.tensor([[1.5, -2.0, 0.0, -0.0, 7.0]])
    functions = {
        "ReLU": relu_xp.relu,
        "LeakyReLU": relu_xp.leaky_relu,
        "ReLU6": relu_xp.clipped_relu,
        "PReLU": lambda x: relu_xp.leaky_relu(x, 0.25),
        "SquaredReLU": relu_xp.squared_relu,
    }
    v, w = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, want = of(modules, name)(v), functions[name](w)
    assert torch.equal(y, want)
    assert torch.equal(torch.signbit(y), torch.signbit(want))
    y.sum().backward()
    want.sum().backward()
    assert torch.equal(v.grad, w.grad)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_copied_pickled_and_saved(torch, modules, name, tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), of(modules, name))
    x = torch.tensor([[1.0, -2.0, 0.5]])
    torch.save(net, tmp_path / "net.pt")
    others = (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(tmp_path / "net.pt", weights_only=False),
    )
    for other in others:
        assert torch.equal(other(x), net(x))
        assert repr(other) == repr(net)


@pytest.mark.filterwarnings("ignore")  # torch warns of its own code
@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_exported_and_compiled(torch, modules, name):
    net, x = of(modules, name), torch.tensor([[1.0, -2.0, 0.0]])
    program = torch.export.export(net, (x,))
    assert any("relu_xp" in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program.module()(x), net(x))
    torch.compiler.reset()
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x))


def test_what_they_print(modules):
    assert repr(modules.ReLU()) == "ReLU(grad_at_zero=1.0)"
    assert (
        repr(modules.LeakyReLU(0.2, True))
        == "LeakyReLU(negative_slope=0.2, grad_at_zero=1.0, inplace=True)"
    )
    assert (
        repr(modules.ReLU6(inplace=True))
        == "ReLU6(grad_at_zero=1.0, grad_at_ceiling=0.0, inplace=True)"
    )
    assert repr(modules.PReLU(3)) == "PReLU(num_parameters=3, grad_at_zero=1.0)"
    assert repr(modules.SquaredReLU()) == "SquaredReLU()"


@pytest.mark.parametrize("name", NAMES)
def test_the_constructors_are_those_of_torch(torch, modules, name):
    """By place and by name. SquaredReLU, which torch does not have, takes the arguments of ReLU."""
    arguments = {"LeakyReLU": [(0.2,), (0.2, True)], "PReLU": [(), (3,), (3, 0.5)]}.get(
        name, [(), (True,)]
    )
    for given in arguments:
        ours = getattr(modules, name)(*given)
        theirs = getattr(torch.nn, name, torch.nn.ReLU)(*given)
        for each in ("negative_slope", "num_parameters"):
            if hasattr(theirs, each):
                assert getattr(ours, each, getattr(ours, "numbers", {}).get(each)) == getattr(
                    theirs, each
                )
        assert getattr(ours, "inplace", None) == getattr(theirs, "inplace", None)
    made = modules.PReLU(num_parameters=2, init=0.5, device="cpu", dtype=torch.float64)
    assert made.weight.tolist() == [0.5, 0.5]
    assert made.weight.dtype == torch.float64


def test_a_state_of_torch_is_loaded(torch, modules):
    own, ours = torch.nn.PReLU(3), modules.PReLU(3)
    with torch.no_grad():
        own.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    ours.load_state_dict(own.state_dict())
    for shape in ((2, 3), (2, 3, 4), (2, 3, 4, 5)):
        x = torch.linspace(-1.0, 1.0, torch.Size(shape).numel()).reshape(shape)
        assert torch.equal(ours(x), own(x))
        ours.weight.grad = own.weight.grad = None
        ours(x).sum().backward()
        own(x).sum().backward()
        assert torch.allclose(ours.weight.grad, own.weight.grad)  # another order of summation
    for shape in ((), (1,), (5,)):  # shapes without channels: one slope for all
        x = torch.full(shape, -2.0)
        assert torch.equal(modules.PReLU()(x), torch.nn.PReLU()(x))
    with pytest.raises(ValueError, match=r"relu_xp\.leaky_relu: negative_slope must broadcast"):
        ours(torch.ones(2, 4))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "PReLU"])
def test_in_place(torch, modules, name):
    module, x = getattr(modules, name)(inplace=True), torch.tensor([-1.0, 0.0, 7.0])
    want = of(modules, name)(x)
    assert module(x) is x
    assert torch.equal(x, want)
    v = torch.tensor([-1.0, 0.0, 7.0], requires_grad=True)
    due = torch.autograd.grad(of(modules, name)(v).sum(), v)[0]
    within = v * 1.0
    y = module(within)
    assert y is within
    assert torch.equal(y, want)
    assert torch.equal(torch.autograd.grad(y.sum(), v)[0], due)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        module(v)


def test_the_derivative_at_zero_is_told_apart(torch, modules):
    for z in (0.0, 0.5, 1.0):
        for module in (modules.ReLU(grad_at_zero=z), modules.PReLU(grad_at_zero=z)):
            x = torch.zeros(1, 1, requires_grad=True)
            assert torch.autograd.grad(module(x).sum(), x)[0].item() == z


def test_bad_numbers_are_refused_when_a_module_is_made(modules):
    with pytest.raises(ValueError, match=r"relu_xp\.relu: grad_at_zero must be finite"):
        modules.ReLU(grad_at_zero=float("nan"))
    with pytest.raises(
        TypeError, match=r"relu_xp\.leaky_relu: negative_slope must be a real number"
    ):
        modules.LeakyReLU("a")
    with pytest.raises(TypeError, match="grad_at_zero must be a real number"):
        modules.PReLU(grad_at_zero=True)


def test_attributes_are_those_of_torch(torch, modules):
    leaky = modules.LeakyReLU(0.1)
    leaky.negative_slope = 0.5
    assert leaky(torch.tensor([-2.0])).item() == -1.0
    assert torch.nn.init.calculate_gain("leaky_relu", leaky.negative_slope) > 1
    six = modules.ReLU6()
    assert (six.min_val, six.max_val) == (torch.nn.ReLU6().min_val, torch.nn.ReLU6().max_val)
    with torch.device("meta"):
        slopes = modules.PReLU(3, init=0.5)
    slopes.to_empty(device="cpu").reset_parameters()
    assert slopes.weight.tolist() == [slopes.init] * 3
    with pytest.raises(
        ValueError, match=r"relu_xp\.torch\.PReLU: x must have 3 channels as axis 1"
    ):
        slopes(torch.ones(3))


@pytest.mark.filterwarnings("ignore:.torch.jit")  # torch.func warns of its own code at first use
def test_in_place_within_transforms(torch, modules):
    x = torch.tensor([[-1.0, 2.0], [3.0, -4.0]])
    assert torch.func.vmap(modules.ReLU(inplace=True))(x.clone()).tolist() == [
        [0.0, 2.0],
        [3.0, 0.0],
    ]
    value, tangent = torch.func.jvp(
        lambda x: modules.LeakyReLU(0.5, inplace=True)(x * 1.0), (x,), (torch.ones(2, 2),)
    )
    assert value.tolist() == [[-0.5, 2.0], [3.0, -2.0]]
    assert tangent.tolist() == [[0.5, 1.0], [1.0, 0.5]]
