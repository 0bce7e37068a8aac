"""Compute leaky_relu and its VJP of an array that is larger than the memory of a Dask worker.

    python3 -m pip install ".[cli,dask]" distributed zarr    # once, in the project's folder
    python examples/dask_pipeline.py STORE [--gigabytes 2] [--memory 400MB]

Two worker processes on this machine work block by block; a progress bar shows how far they are.
If a worker dies, the other computes its blocks again. The result is a Zarr array, which
`dask.array.from_zarr` reads. STORE must not be there yet.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

try:
    import dask.array as da
    import numpy as np
    import zarr  # noqa: F401  # Dask's to_zarr imports it only when the work begins
    from distributed import Client, LocalCluster, progress
    from rich.console import Console

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[cli,dask]" distributed zarr'
    sys.exit(f"This example needs {error.name}: {how}")

SLOPE = 0.1
BLOCK = 1 << 22  # float32 elements, 16 MiB


def noise(seed: int, block_info: Any = None) -> Any:
    """Make one block; its place is the seed, so a lost block can be made again as it was."""
    at = block_info[None]["chunk-location"][0]
    return np.random.default_rng((seed, at)).standard_normal(
        block_info[None]["chunk-shape"], np.float32
    )


def pipeline(blocks: int) -> Any:
    """Give the cotangent of x for the loss sum(leaky_relu(x)**2) / 2: lazy, one task a block."""
    shape = {"chunks": ((BLOCK,) * blocks,), "dtype": np.float32, "meta": np.empty(0, np.float32)}
    x = da.map_blocks(noise, 0, **shape)
    return relu_xp.leaky_relu_vjp(x, relu_xp.leaky_relu(x, SLOPE), SLOPE)


def main() -> None:
    """Run the pipeline on two workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", metavar="STORE", help="the folder to write to")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the array")
    parser.add_argument("--memory", default="400MB", help="that each worker may use")
    parser.add_argument(
        "--kill-a-worker", action="store_true", help="half-way, to see that nothing is lost"
    )
    options = parser.parse_args()
    if Path(options.store).exists():
        parser.error(f"{options.store} is there: it would be overwritten")
    result = pipeline(max(1, round(options.gigabytes * 1e9 / (4 * BLOCK))))
    console = Console()
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=options.memory,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        begin = time.perf_counter()
        write = client.compute(result.to_zarr(options.store, compute=False))
        if options.kill_a_worker:
            files, half = Path(options.store), result.npartitions // 2  # a block is a file
            while sum(1 for _ in files.rglob("*")) < half:
                time.sleep(0.05)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            console.print("killed a worker half-way")
        progress(write)
        client.gather(write)
        seconds = time.perf_counter() - begin
    console.print(f"\n{result.nbytes / 1e9:.1f} GB in {result.npartitions} blocks, {seconds:.0f} s")


if __name__ == "__main__":
    main()
