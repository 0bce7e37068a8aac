"""Runs CuPy's backend without a GPU: real CuPy arrays in the host's memory, CUDA text as C++.

All code of the backend runs, except the launch and calls of the device. As a plugin of pytest
(`-p cupy_on_host`) it lets the tests of all backends run on such arrays.
"""

import ctypes
import functools
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np


def install(set_attribute, library):
    """Replace what needs a GPU by set_attribute(owner, name, value).

    Give a list that records launches, and an allocator.
    """
    import cupy

    from relu_xp._backends import cupy as backend

    launches = []

    def over(array):
        memory = cupy.cuda.memory.UnownedMemory(array.ctypes.data, max(array.nbytes, 1), array, 0)
        pointer = cupy.cuda.memory.MemoryPointer(memory, 0)
        return cupy.ndarray(array.shape, array.dtype, pointer, strides=array.strides)

    def seen(x):
        """Give a NumPy view of the elements."""
        if not x.size:
            return np.empty(x.shape, x.dtype)
        low, high = backend._extent(x)
        memory = (ctypes.c_uint8 * (high - low)).from_address(low)
        return np.ndarray(x.shape, x.dtype, memory, x.data.ptr - low, x.strides)

    def get(x):
        return seen(x).copy("K")

    def contiguous(function, dtype, arrays):
        def launch(grid, block, arguments):
            launches.append(("contiguous", grid[0], block[0], *arguments[4:6]))
            packed = [ctypes.c_longlong(argument) for argument in arguments[:6]]
            packed += [ctypes.c_ulonglong(argument) for argument in arguments[6:]]
            library(function, dtype.name, arrays).contiguous(
                ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *packed
            )

        return launch

    def elementwise(function, dtype, arrays):
        def call(*arguments):
            count = len(function.arrays) + len(function.scalars)
            operands, scalars, out = arguments[:arrays], arguments[arrays:count], arguments[count:]
            result = out[0] if out else over(np.empty(operands[0].shape, dtype))
            launches.append(("elementwise", result.size))
            inputs = [
                np.ascontiguousarray(np.broadcast_to(seen(a), result.shape)) for a in operands
            ]
            held = np.empty(result.shape, dtype)
            pointers = (ctypes.c_void_p * arrays)(*(a.ctypes.data for a in inputs))
            bits = (ctypes.c_ulonglong * 4)(*scalars)
            size = ctypes.c_longlong(held.size)
            library(function, dtype.name, arrays).elements(
                pointers, ctypes.c_void_p(held.ctypes.data), size, bits
            )
            seen(result)[...] = held
            return result

        return call

    set_attribute(backend, "_contiguous", contiguous)
    set_attribute(backend, "_elementwise", elementwise)
    copy_if = lambda a, out: over(get(a)) if backend._overlaps(out, a) else a  # noqa: E731
    set_attribute(backend, "_copy_if_overlapping", copy_if)
    set_attribute(backend, "put", lambda array, device: over(np.array(array, copy=True, order="K")))
    set_attribute(backend, "get", get)
    set_attribute(cupy.cuda.runtime, "getDevice", lambda: 0)
    set_attribute(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    return launches, lambda size: over(np.empty(max(size, 1), np.uint8)).data


def compiler(program, folder):
    """Give a cached function that compiles the text for one function and dtype."""

    @functools.cache
    def compiled(function, dtype, arrays):
        from relu_xp._backends import cupy as backend

        file = folder / f"{function}_{dtype}_{arrays}.so"
        harness = Path(__file__).with_name("cuda_on_host.cpp")
        flags = [
            "-O1",
            "-std=c++17",
            "-shared",
            "-fPIC",
            "-ffp-contract=off",
            "-fno-strict-aliasing",
        ]
        defines = [
            *backend.options(function, dtype, arrays),
            "-Wno-unused-function",
            "-Wall",
            "-Werror",
            "-Wno-unknown-pragmas",
        ]
        include = f"-I{resources.files('relu_xp._native')}"
        subprocess.run(
            [program, *flags, *defines, include, str(harness), "-o", str(file)], check=True
        )
        return ctypes.CDLL(str(file))

    return compiled


def pytest_configure(config):
    """Let CuPy's backend run on the host in all tests of this process."""
    import cupy

    _, allocate = install(setattr, compiler("g++", Path(tempfile.mkdtemp())))
    cupy.cuda.set_allocator(allocate)
