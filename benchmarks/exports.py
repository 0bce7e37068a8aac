"""Times programs that torch records from our functions, against those from torch's own.

    python benchmarks/exports.py

Each row is a function, each column a way to record it. A cell has the number of operations in our
program and in torch's, and our time over torch's; ONNX programs run in onnxruntime. All take turns
in one process, and medians are compared.
"""

import argparse
import functools
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import torch
from in_torch import PAIRS, SAMPLE, SLOPES
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional

import relu_xp
from relu_xp.bench._measuring import ratio

Call = Callable[[torch.Tensor], torch.Tensor]
SHAPES = {"2^4": (1, len(SLOPES)), "2^20": ((1 << 20) // len(SLOPES), len(SLOPES))}
SLOPED = (lambda x: relu_xp.leaky_relu(x, SLOPES), lambda x: functional.prelu(x, SLOPES))


def exported(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give a program of `torch.export`."""
    return _program(torch.export.export(_module(f), (x,)))


def decomposed(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give the same program, decomposed into torch's core operations."""
    return _program(torch.export.export(_module(f), (x,)).run_decompositions())


def traced(f: Call, x: torch.Tensor) -> tuple[int, Call]:
    """Give a program of `torch.jit.trace`."""
    program = torch.jit.trace(lambda x: f(x), (x,))  # torch wants a name, which a partial lacks
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


def main() -> None:
    """Record every function in every way, and time it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the exporters warn about themselves
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    console = Console(width=140)
    versions = f"PyTorch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    told = f"operations, ours and torch's; time over torch's own on {' and '.join(SHAPES)}"
    table = Table("function", *WAYS, title=f"{versions}, float32, one thread: {told}")
    pairs = {**PAIRS, "leaky_relu, slopes": SLOPED}
    for name, pair in track(pairs.items(), description="recording", console=Console(stderr=True)):
        cells = []
        for way in WAYS.values():
            counts, ratios = "", []
            for shape in SHAPES.values():
                x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
                with torch.no_grad():
                    (count, ours), (of_torch, theirs) = (way(f, x) for f in pair)
                    calls = (functools.partial(each, x) for each in (ours, theirs))
                    ratios.append(f"{ratio(*calls, options.rounds, SAMPLE):.2f}")
                counts = f"{count}, {of_torch}"
            cells.append(f"{counts}; {' '.join(ratios)}")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
