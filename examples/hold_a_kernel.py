"""Check five kernels against the definition: each has a fault that was reported in 2026.

    python3 -m pip install .    # once, in the project's folder
    python examples/hold_a_kernel.py

The kernels are written here in NumPy, as the reports describe them. Each passes a usual test: 1,000
random normal numbers, compared with a tolerance. `relu_xp.verify.check` names the kind of
fault, and the smallest input that shows it. The script writes no file, and ends with status 1 if a
fault was not found.
"""

import inspect
import sys
from typing import Any

import numpy as np

import relu_xp
from relu_xp.verify import check

Array = Any


def relu_by_comparison(x: Array) -> Array:
    """x > 0 ? x : 0, as CUDA code often has it: for NaN, x > 0 is false (AiDotNet.Tensors#486)."""
    return np.where(x > 0, x, np.zeros_like(x))


def relu_by_instruction(x: Array) -> Array:
    """RISC-V's maximum of a number and NaN is the number (oneDNN#5370)."""
    return np.fmax(x, np.zeros_like(x)) + np.zeros_like(x)


def clamp_by_instructions(x: Array) -> Array:
    """RISC-V's minimum and maximum: a NaN gives the ceiling (oneDNN#5370)."""
    return np.fmax(np.fmin(x, np.full_like(x, 6)), np.zeros_like(x)) + np.zeros_like(x)


def relu6_backward(x: Array, g: Array) -> Array:
    """A derivative that is 6 where x is NaN (tt-metal#57374)."""
    inside = (x >= 0) & (x < 6)
    return np.where(x != x, np.full_like(x, 6), np.where(inside, g, np.zeros_like(g)))


def nothing(x: Array) -> Array:
    """All zeros: small results pass with a tolerance of 0.01 (KernelBench#165)."""
    return np.zeros_like(x)


KERNELS = (
    (relu_by_comparison, "relu", "nan_lost"),
    (relu_by_instruction, "relu", "nan_lost"),
    (clamp_by_instructions, "clipped_relu", "nan_lost"),
    (relu6_backward, "clipped_relu_vjp", "nan_cotangent"),
    (nothing, "relu", "unwritten"),
)


def passes_a_usual_test(kernel: Any, function: str, scale: float) -> bool:
    """Compare random numbers with a tolerance."""
    count = len(inspect.signature(kernel).parameters)
    arrays = np.random.default_rng(0).normal(0, scale, (count, 1000)).astype(np.float32)
    return np.allclose(kernel(*arrays), getattr(relu_xp, function)(*arrays), atol=1e-2)


def main() -> int:
    """Print what is found; return 1 if a fault gets a wrong name."""
    missed = 0
    for kernel, function, kind in KERNELS:
        usual = passes_a_usual_test(kernel, function, 1e-3 if kernel is nothing else 1.0)
        report = check(kernel, function, dtypes=["float16", "float32"])
        kinds = [fault.kind for fault in report.faults]
        missed += kinds != [kind]
        verdict = f"the usual test {'passes' if usual else 'fails'}, check finds {', '.join(kinds)}"
        print(f"{kernel.__name__}: {verdict}")
        print(f"  {report.faults[0].example}")
        print(f"  {report.faults[0].advice}\n")
    print(f"{len(KERNELS) - missed} of {len(KERNELS)} faults were found and named.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
