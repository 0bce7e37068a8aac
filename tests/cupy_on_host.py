"""Runs CuPy's backend without a GPU: real CuPy arrays over the host's memory, and its CUDA text compiled as C++.

Everything of the backend runs but the launch and the device's own calls. As pytest's plugin, `-p cupy_on_host`, it lets
the tests of all backends run on such arrays.
"""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import numpy as np

PROCESSORS = 2


def install(set_attribute, library):
    """Replace what needs a GPU, by set_attribute(owner, name, value); give the list of launches, and an allocator."""
    import cupy
    from cupy._core import _scalar

    from relu_xp._backends import cupy as backend

    launches = []

    def over(array):
        memory = cupy.cuda.memory.UnownedMemory(array.ctypes.data, max(array.nbytes, 1), array, 0)
        pointer = cupy.cuda.memory.MemoryPointer(memory, 0)
        return cupy.ndarray(array.shape, array.dtype, pointer, strides=array.strides)

    def get(x):
        if not x.size:
            return np.empty(x.shape, x.dtype)
        low, high = backend._extent(x)
        memory = (ctypes.c_uint8 * (high - low)).from_address(low)
        return np.ndarray(x.shape, x.dtype, memory, x.data.ptr - low, x.strides).copy("K")

    def packed_by_cupy(argument):
        if isinstance(argument, np.ndarray):
            return ctypes.c_void_p(argument.ctypes.data)  # by value on a GPU, here by reference
        held = _scalar.CScalar(argument)
        memory = ctypes.string_at(held.ptr, held.dtype.itemsize)
        return np.ctypeslib.as_ctypes_type(held.dtype).from_buffer_copy(memory)

    def kernel(function, dtype, way):
        def launch(grid, block, arguments):
            launches.append((way, grid[0], block[0], *arguments[3:-2]))
            packed = [packed_by_cupy(argument) for argument in arguments]
            getattr(library(function, dtype.name), way)(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *packed)

        return launch

    set_attribute(backend, "_kernel", kernel)
    set_attribute(backend, "_processors", lambda device: PROCESSORS)
    set_attribute(backend, "_apart", lambda a, out: over(get(a)) if backend._spoils(out, a) else a)
    set_attribute(backend, "put", lambda array, device: over(np.array(array, copy=True, order="K")))
    set_attribute(backend, "get", get)
    set_attribute(cupy.cuda.runtime, "getDevice", lambda: 0)
    set_attribute(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    return launches, lambda size: over(np.empty(max(size, 1), np.uint8)).data


def compiler(program, folder):
    """Give the function that compiles the text for one function and dtype, once."""

    @functools.cache
    def compiled(function, dtype):
        from relu_xp._backends import cupy as backend

        file = folder / f"{function}_{dtype}.so"
        harness = Path(__file__).with_name("cuda_on_host.cpp")
        text = Path(backend.__file__).parent
        options = ["-O1", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"]
        defines = [f"-DFUNCTION={function}", f"-DTYPE={dtype}", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
        command = [program, *options, *defines, f"-I{text}", str(harness), "-o", str(file)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(file))

    return compiled


def pytest_configure(config):
    """Let CuPy's backend run here for all tests of this process."""
    import cupy

    _, allocate = install(setattr, compiler("g++", Path(tempfile.mkdtemp())))
    cupy.cuda.set_allocator(allocate)
