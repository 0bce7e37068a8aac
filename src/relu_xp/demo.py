"""`relu-xp demo`: the functions on every backend here, and a network trained with them."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import relu_xp
from relu_xp import _survey
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._peers import Array
from relu_xp.bench import _network
from relu_xp.bench._network import Params
from relu_xp.verify import expected

INPUTS = (1.0, -10.0, 0.0, 15.0, -20.0)
SHOWN = [each for each in FUNCTIONS.values() if len(each.arrays) == 1]
ACTIVATIONS = [each for each in SHOWN if each.role == "value"]
UNITS = 64
EPOCHS = 30
BATCH = 32
LEARNING_RATE = 0.05
MOMENTUM = 0.9
# So low that many units start below zero on every image, as after a step of training that was too
# large.
FIRST_BIAS = -1.0
WANTED_ACCURACY = 0.93

NEXT = """
What to try next:
  relu-xp verify    compares every backend here with the definition, to the bit
  relu-xp bench     measures every backend here, in a few minutes
  relu-xp --help    names the functions and their defaults
In Python, with any array you have: relu_xp.leaky_relu(x, 0.1)"""


class Digits(NamedTuple):
    """Images of 8 x 8 pixels in [0, 1], flattened, and the digits they show."""

    train: Array
    train_labels: Array
    test: Array
    test_labels: Array


def run(console: Console) -> bool:
    """Show everything; say whether all of it came out as it should."""
    found = list(_survey.survey())
    targets = [each for each in found if isinstance(each, _survey.Target)]
    fine = _show_tutorial(console, targets)
    for each in found:
        if isinstance(each, _survey.Unavailable):
            console.print(f"[dim]{each.name}: {each.reason}[/]")
    console.print()
    fine = _show_digits(console, targets) and fine
    console.print(NEXT, highlight=False)
    return fine


def _show_tutorial(console: Console, targets: list[_survey.Target]) -> bool:
    x = np.array(INPUTS, np.float32)
    wanted = {each: expected(each, (x,), each.named(each.defaults)) for each in SHOWN}
    definition = Table(title="The definition, on five inputs in float32")
    for heading in ("x", *(f"{v:g}" for v in INPUTS)):
        definition.add_column(heading, justify="right")
    for function, values in wanted.items():
        definition.add_row(function.name, *(f"{v:g}" for v in values.tolist()))
    held = Table(
        "backend", "device", "functions", title="Every backend here, held against it bit for bit"
    )
    fine = True
    for target in targets:
        results = {each: target.get(getattr(relu_xp, each.name)(target.put(x))) for each in SHOWN}
        wrong = [
            f"{f} gives {got.tolist()}"
            for f, got in results.items()
            if got.tobytes() != wanted[f].tobytes()
        ]
        held.add_row(
            target.name,
            target.where,
            _verdict(not wrong, f"all {len(SHOWN)} equal", "; ".join(wrong)),
        )
        fine &= not wrong
    console.print(definition, held, sep="\n")
    return fine


def _show_digits(console: Console, targets: list[_survey.Target]) -> bool:
    digits = _load_digits()
    how, epochs_of = "NumPy, by hand with our VJPs", _epochs_by_hand
    if any(target.name == "jax" for target in targets):
        how, epochs_of = "JAX, jit(grad) of our functions", _epochs_by_jax
    console.print(
        f"Handwritten digits: a network of 64-{UNITS}-10 units, trained on "
        f"{len(digits.train)} images by {how}. Its first biases are {FIRST_BIAS:g}, so many "
        "units are below zero on every image. There the derivative of relu is 0, so such a unit "
        "learns nothing: it is called dead. The derivative of leaky_relu is not 0 there, so its "
        "units go on learning."
    )
    summary = Table(title=f"Tested on {len(digits.test)} images that were not trained on")
    for heading in ("activation", "accuracy", "dead units at first", "dead units in the end"):
        summary.add_column(heading)
    by_target = Table("backend", "device", "predictions", title="The same weights on every backend")
    wrong: dict[_survey.Target, list[str]] = {target: [] for target in targets}

    fine = True
    with Progress(console=console) as progress:
        for function in ACTIVATIONS:
            first = params = _first_params()
            task = progress.add_task(f"training with {function}", total=EPOCHS)
            for params in itertools.islice(epochs_of(function, first, digits), EPOCHS):  # noqa: B007
                progress.advance(task)
            predicted = _predict(function, params, digits.test)
            accuracy = float((predicted == digits.test_labels).mean())
            good = accuracy >= WANTED_ACCURACY
            fine &= good
            summary.add_row(
                function.name,
                _verdict(good, f"{accuracy:.3f}", f"{accuracy:.3f}, below {WANTED_ACCURACY}"),
                f"{_dead_share(function, first, digits.train):.0%}",
                f"{_dead_share(function, params, digits.train):.0%}",
            )
            (w1, b1), (w2, b2) = params
            before, activate = digits.test @ w1 + b1, getattr(relu_xp, function.name)
            for target in targets:
                # Only the activation runs there: labelled arrays multiply by their names.
                there = (target.get(activate(target.put(before))) @ w2 + b2).argmax(1)
                if differ := int((there != predicted).sum()):
                    wrong[target].append(f"{differ} of {len(predicted)} differ with {function}")
    for target, told in wrong.items():
        same = f"all {len(ACTIVATIONS) * len(digits.test):,} the same"
        by_target.add_row(target.name, target.where, _verdict(not told, same, "; ".join(told)))
        fine &= not told
    console.print(summary, by_target, sep="\n")
    return fine


def _verdict(good: bool, yes: str, no: str) -> str:
    return f"[green]{yes}[/]" if good else f"[bold red]{no}[/]"


def _load_digits() -> Digits:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:360], order[360:]
    return Digits(images[train], labels[train], images[test], labels[test])


def _first_params(bias: float = FIRST_BIAS) -> Params:
    (w1, b1), last = _network.initial((64, UNITS, 10), seed=1)
    return [(w1, np.full_like(b1, bias)), last]


def _predict(function: Function, params: Params, x: Array) -> Array:
    return np.argmax(_network.forward(getattr(relu_xp, function.name), params, x), 1)


def _dead_share(function: Function, params: Params, x: Array) -> float:
    """Give the share of the hidden units whose derivative is 0 on every image."""
    [derivative] = (
        each for each in SHOWN if each.role == "grad" and each.rectifier == function.rectifier
    )
    w, b = params[0]
    return float((getattr(relu_xp, derivative.name)(x @ w + b).max(0) == 0).mean())


def _batches(digits: Digits, epoch: int) -> list[tuple[Array, Array]]:
    """Give the batches of an epoch, all of one size: shuffled images, and one-hot labels."""
    order = np.random.default_rng(epoch).permutation(len(digits.train))
    onehot = np.eye(10, dtype=np.float32)[digits.train_labels]
    count = len(order) // BATCH
    return [
        (digits.train[batch], onehot[batch]) for batch in np.split(order[: count * BATCH], count)
    ]


def _moved(params: Params, velocity: Params, slopes: Params) -> tuple[Params, Params]:
    """Make one step of gradient descent with momentum."""
    velocity = [
        tuple(MOMENTUM * v - LEARNING_RATE * d for v, d in zip(*layer, strict=True))
        for layer in zip(velocity, slopes, strict=True)
    ]
    moved = [
        tuple(p + v for p, v in zip(*layer, strict=True))
        for layer in zip(params, velocity, strict=True)
    ]
    return moved, velocity


def _train(
    step: Callable[..., tuple[Params, Params]], params: Params, digits: Digits
) -> Iterator[Params]:
    """Yield the parameters after each epoch, as NumPy arrays, without end."""
    velocity = [tuple(map(np.zeros_like, layer)) for layer in params]
    for epoch in itertools.count():  # pragma: no branch  # it has no end
        for x, onehot in _batches(digits, epoch):
            params, velocity = step(params, velocity, x, onehot)
        yield [tuple(map(np.asarray, layer)) for layer in params]


def _epochs_by_jax(function: Function, params: Params, digits: Digits) -> Iterator[Params]:
    """Train as a user of JAX would: jit, and grad through our function."""
    import jax

    gradients = _network.jax_gradients(getattr(relu_xp, function.name))

    @jax.jit
    def step(params: Params, velocity: Params, x: Array, onehot: Array) -> tuple[Params, Params]:
        return _moved(params, velocity, gradients(params, x, onehot))

    return _train(step, params, digits)


def _epochs_by_hand(function: Function, params: Params, digits: Digits) -> Iterator[Params]:
    """Train in NumPy, the backward pass written out with our VJP."""
    activate, vjp = getattr(relu_xp, function.name), getattr(relu_xp, function.vjp.name)
    gradients = functools.partial(_network.gradients, activate, vjp)

    def step(params: Params, velocity: Params, x: Array, onehot: Array) -> tuple[Params, Params]:
        return _moved(params, velocity, gradients(params, x, onehot))

    return _train(step, params, digits)
