"""What a program recorded from a call costs, against one recorded from torch's own: `python benchmarks/exports.py`.

Each row is a function, each pair of columns a way to record it: how many operations the program
has, and its time over that of torch's own function, recorded alike; in onnxruntime for ONNX.
Contestants take turns, medians are compared.
"""

import argparse
import functools
import io
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional

import relu_xp

Call = Callable[[torch.Tensor], torch.Tensor]
SLOPES = torch.linspace(0.1, 0.4, 64)
SHAPES = {"2^4": (1, 16), "2^20": (1 << 14, 64)}
# Ours and torch's own.
PAIRS: dict[str, tuple[Call, Call]] = {
    "relu": (relu_xp.relu, torch.relu),
    "relu, 0 at 0": (functools.partial(relu_xp.relu, grad_at_zero=0.0), torch.relu),
    "leaky_relu": (relu_xp.leaky_relu, functional.leaky_relu),
    "leaky_relu, 0.2, 0 at 0": (
        lambda x: relu_xp.leaky_relu(x, 0.2, grad_at_zero=0.0),
        lambda x: functional.leaky_relu(x, 0.2),
    ),
    "leaky_relu, -0.2": (
        lambda x: relu_xp.leaky_relu(x, -0.2),
        lambda x: functional.leaky_relu(x, -0.2),
    ),
    "leaky_relu, slopes": (
        lambda x: relu_xp.leaky_relu(x, SLOPES[: x.shape[1]]),
        lambda x: functional.prelu(x, SLOPES[: x.shape[1]]),
    ),
    "clipped_relu": (relu_xp.clipped_relu, functional.relu6),
    "squared_relu": (relu_xp.squared_relu, lambda x: torch.relu(x).square()),
}


def exported(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give a program of `torch.export`."""
    return _program(torch.export.export(_module(f), (x,)))


def decomposed(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give the same, taken apart into torch's core operations."""
    return _program(torch.export.export(_module(f), (x,)).run_decompositions())


def traced(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give a program of `torch.jit.trace`."""
    program = torch.jit.trace(lambda x: f(x), (x,))  # a partial has no name
    return sum(node.kind().startswith("aten::") for node in program.inlined_graph.nodes()), program


def in_onnx(f: Call, x: torch.Tensor, *, dynamo: bool) -> tuple[int, Call]:
    """Give a program of ONNX's operators, in onnxruntime on one thread."""
    file = io.BytesIO()
    torch.onnx.export(_module(f), (x,), file, dynamo=dynamo, verbose=False)
    nodes = [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    name = session.get_inputs()[0].name
    return len(nodes) - nodes.count("Constant"), lambda x: session.run(None, {name: x.numpy()})[0]


WAYS = {
    "export": exported,
    "decomposed": decomposed,
    "jit.trace": traced,
    "ONNX": functools.partial(in_onnx, dynamo=True),
    "ONNX, older exporter": functools.partial(in_onnx, dynamo=False),
}


def _module(f: Call) -> torch.nn.Module:
    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return f(x)

    return Module()


def _program(program: Any) -> tuple[int, Call]:
    calls = sum(node.op == "call_function" for node in program.graph.nodes)
    return calls, program.module()


def ratio(ours: Call, theirs: Call, x: torch.Tensor, rounds: int) -> float:
    """Time the two in turns."""
    begin = time.perf_counter()
    for call in (ours, theirs, ours, theirs):
        call(x)
    repeats = max(1, int(4e-3 / (time.perf_counter() - begin)))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, samples in zip((ours, theirs), seconds, strict=True):
            begin = time.perf_counter()
            for _ in range(repeats):
                call(x)
            samples.append(time.perf_counter() - begin)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def main() -> None:
    """Record every function in every way, and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the exporters about themselves
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    console = Console(width=140)
    title = (
        f"PyTorch {torch.__version__}, onnxruntime {onnxruntime.__version__}, float32, one thread"
    )
    table = Table(
        "function",
        *WAYS,
        title=f"{title}: operations, ours and torch's; time over torch's own on {' and '.join(SHAPES)}",
    )
    for name, pair in track(PAIRS.items(), description="recording", console=console):
        cells = []
        for way in WAYS.values():
            counts, ratios = [], []
            for shape in SHAPES.values():
                x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
                with torch.no_grad():
                    (count, ours), (of_torch, theirs) = (way(f, x) for f in pair)
                    ratios.append(f"{ratio(ours, theirs, x, options.rounds):.2f}")
                counts = [count, of_torch]
            cells.append(f"{counts[0]}, {counts[1]}; {' '.join(ratios)}")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
