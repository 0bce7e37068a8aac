"""What a slope a channel costs on NumPy arrays, beside PyTorch's prelu, `numpy.where` and one slope for all.

    python benchmarks/slopes.py [--json FILE]

All on one thread, in turns, in one run; medians. A ratio is the time of the other over ours: above
1 relu_xp is faster. Needs NumPy, PyTorch and rich.
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy_speed import measure
from rich.console import Console
from rich.table import Table

import relu_xp

# Of x, and of its slopes: a million elements in rows of channels, then images, whose channels come
# before their pixels.
ROWS = [
    ((-(-(1 << 20) // channels), channels), (channels,))
    for channels in (3, 8, 16, 64, 256, 1024, 4096)
]
IMAGES = [
    ((32, 64, 32, 32), (64, 1, 1)),
    ((32, 3, 128, 128), (3, 1, 1)),
    ((64, 512, 7, 7), (512, 1, 1)),
]
SAMPLES = 15


def calls(x: Any, g: Any, slope: Any) -> dict[str, Callable[[], Any]]:
    """Ours and the others', the value and the VJP."""
    tx, tg = torch.from_numpy(x), torch.from_numpy(g)
    # prelu wants the channels second, and takes a slope for each; autograd's kernel takes them as
    # they are broadcast.
    weight = torch.from_numpy(np.ascontiguousarray(slope.reshape(-1)))
    back = functools.partial(
        torch.ops.aten._prelu_kernel_backward, tg, tx, torch.from_numpy(slope).expand(tx.shape)
    )
    return {
        "value": functools.partial(relu_xp.leaky_relu, x, slope),
        "prelu": functools.partial(torch.nn.functional.prelu, tx, weight),
        "where": lambda: np.where(x > 0, x, slope * x),
        "one slope": functools.partial(relu_xp.leaky_relu, x, 0.25),
        "vjp": functools.partial(relu_xp.leaky_relu_vjp, x, g, slope),
        "prelu's backward": back,
    }


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = []
    table = Table(
        "dtype", "x", "slope", "µs", "prelu", "where", "one slope", "VJP: prelu's backward"
    )
    for dtype in (np.float32, np.float16):
        for shape, of_slope in ROWS + IMAGES:
            rng = np.random.default_rng(0)
            x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
            slope = rng.uniform(0.1, 0.4, of_slope).astype(dtype)
            found = measure(calls(x, g, slope), SAMPLES)
            records.append(
                {"dtype": np.dtype(dtype).name, "shape": shape, "slope": of_slope, "seconds": found}
            )
            ratios = [
                f"{found[name] / found['value']:.2f}" for name in ("prelu", "where", "one slope")
            ]
            back = found["prelu's backward"] / found["vjp"]
            table.add_row(
                records[-1]["dtype"],
                str(shape),
                str(of_slope),
                f"{found['value'] * 1e6:.0f}",
                *ratios,
                f"{back:.2f}",
            )
    Console().print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(records) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
