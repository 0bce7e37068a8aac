"""Times one slope a channel on NumPy arrays, beside prelu, `numpy.where` and one slope for all.

    python benchmarks/slopes.py [--json FILE]

All run on one thread and take turns in one process; medians are compared. A ratio is the time of
the other over ours: above 1 relu_xp is faster. Needs NumPy, PyTorch and rich.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import relu_xp
from relu_xp._peers import Calls
from relu_xp.bench._measuring import times

# Shapes of x and of its slopes: a million elements in rows of channels; then images, whose channels
# come before their pixels.
ROWS = [((-(-(1 << 20) // n), n), (n,)) for n in (3, 8, 16, 64, 256, 1024, 4096)]
IMAGES = [((b, c, n, n), (c, 1, 1)) for b, c, n in ((32, 64, 32), (32, 3, 128), (64, 512, 7))]
SAMPLES = 15
OTHERS = ("prelu", "where", "one slope")


def calls(x: Any, g: Any, slope: Any) -> Calls:
    """Give the value and the VJP, ours and the others'."""
    of, tx, tg, slopes = functools.partial, *map(torch.from_numpy, (x, g, slope))
    # prelu takes the slopes as a vector; autograd's kernel takes them broadcast.
    back = of(torch.ops.aten._prelu_kernel_backward, tg, tx, slopes.expand(tx.shape))
    return {
        "value": of(relu_xp.leaky_relu, x, slope),
        "prelu": of(torch.nn.functional.prelu, tx, slopes.reshape(-1)),
        "where": lambda: np.where(x > 0, x, slope * x),
        "one slope": of(relu_xp.leaky_relu, x, 0.25),
        "vjp": of(relu_xp.leaky_relu_vjp, x, g, slope),
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
    table = Table("dtype", "x", "slope", "µs", *OTHERS, "VJP: prelu's backward")
    for dtype in ("float32", "float16"):
        for shape, of_slope in ROWS + IMAGES:
            rng = np.random.default_rng(0)
            x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
            slope = rng.uniform(0.1, 0.4, of_slope).astype(dtype)
            found = times(calls(x, g, slope), SAMPLES)
            records.append({"dtype": dtype, "shape": shape, "slope": of_slope, "seconds": found})
            ratios = [found[name] / found["value"] for name in OTHERS]
            ratios.append(found["prelu's backward"] / found["vjp"])
            told = dtype, str(shape), str(of_slope), f"{found['value'] * 1e6:.0f}"
            table.add_row(*told, *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(records) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
