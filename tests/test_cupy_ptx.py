"""The machine code that NVIDIA's compiler makes of the CUDA text; this needs no GPU."""

import functools
import re

import oracle
import pytest

from relu_xp._functions import FUNCTIONS

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
INTEGERS = {f"{sign}int{8 * size}": size for size in (1, 2, 4, 8) for sign in ("", "u")}
INSTANCES = [
    (function, name, size) for function in oracle.FUNCTIONS for name, size in FLOATS.items()
]
INSTANCES += [("relu", name, size) for name, size in INTEGERS.items()]


@pytest.fixture(scope="module")
def nvrtc(request, wanted):
    wanted("cupy")
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        if request.config.getoption("--backend"):
            raise
        pytest.skip(f"NVRTC: {error}")
    return nvrtc


# A type of each size, for the elements of CuPy's elementwise kernel.
TYPES = {1: "char", 2: "short", 4: "float", 8: "double"}


@functools.cache
def compile_to_ptx(nvrtc, function, dtype, architecture):
    """Compile as CuPy does: C++17, subnormals flushed by default, down to machine code.

    The program has the kernel for contiguous arrays, and an elementwise kernel like CuPy's.
    """
    from relu_xp._backends import cupy as backend

    record, bits = FUNCTIONS[function], (FLOATS | INTEGERS)[dtype]
    arrays, scalars = "abc"[: len(record.arrays)], "pqr"[: len(record.scalars)]
    parameters = [
        *(f"const T *{a}" for a in arrays),
        *(f"unsigned long long {p}" for p in scalars),
        "T *y",
    ]
    words = [
        *(f"relu_xp::bits({a}[threadIdx.x])" for a in arrays),
        *(f"relu_xp::Word({p})" for p in scalars),
    ]
    source = f"""{backend.source()}
    #undef CONTIGUOUS
    namespace relu_xp {{ {backend.source()} }}
    typedef {TYPES[bits]} T;
    extern "C" __global__ void elementwise({", ".join(parameters)}) {{
        const relu_xp::Word w[] = {{{", ".join(words)}}};
        relu_xp::rectify(w, y[threadIdx.x]);
    }}"""
    defines = (*backend.options(record, dtype, len(arrays)), "-DCONTIGUOUS=contiguous")
    options = (
        *defines,
        f"-arch=sm_{architecture}",
        "-std=c++17",
        "-ftz=true",
        "--ptxas-options=-v",
    )
    program = nvrtc.createProgram(source, f"{function}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        log = nvrtc.getProgramLog(program)
        assert nvrtc.getCUBIN(program).startswith(b"\x7fELF")
        ptx = nvrtc.getPTX(program)
    finally:
        nvrtc.destroyProgram(program)
    lines = [line for line in log.strip("\0").splitlines() if line and not line.startswith("ptxas")]
    assert not [
        line
        for line in lines
        if "error" in line or ("warning" in line and "never referenced" not in line)
    ], log
    assert (
        re.findall(r"(\d+) bytes (stack|spill)", log)
        == [("0", "stack"), ("0", "spill"), ("0", "spill")] * 2
    )
    return ptx.decode() if isinstance(ptx, bytes) else ptx


def entry(ptx, name):
    """Give the body of one kernel."""
    return re.search(rf"\.entry {name}\(.*?\n\}}", ptx, re.DOTALL).group()


def accesses(body):
    """List all loads and stores of global memory, as ("ld" or "st", bytes)."""
    found = re.findall(r"\b(ld|st)\.global(?:\.nc|\.cs)?(?:\.v(\d))?\.[a-z](\d+)", body)
    return [(what, int(count or 1) * int(bits) // 8) for what, count, bits in found]


@pytest.mark.parametrize(("function", "dtype", "size"), INSTANCES)
def test_every_architecture(nvrtc, function, dtype, size):
    # The architectures left out are revisions of these, and chips for boards and cars.
    for architecture in {75, 80, 86, 89, 90, 100, 110, 120}.intersection(nvrtc.getSupportedArchs()):
        where = f"{function} of {dtype}, sm_{architecture}"
        ptx = compile_to_ptx(nvrtc, function, dtype, architecture)
        assert not re.findall(r"\.ftz|\.local\b|\bfma\.rn\.f|\.approx|\bcall\b", ptx), where
        arrays = len(FUNCTIONS[function].arrays)
        wide = accesses(entry(ptx, "contiguous"))
        assert {size for _, size in wide} == {16, size}, where
        # A thread loads four packs of each array before it stores. Loads of one element are for
        # the head and the tail.
        assert wide.count(("ld", 16)) >= 4 * arrays, where
        assert wide.count(("st", 16)) >= 4, where
        assert {size for _, size in accesses(entry(ptx, "elementwise"))} == {size}, where
        if arrays == 1:
            assert wide.count(("ld", 16)) == 4, f"{where}: reads what it does not need"


@pytest.mark.parametrize(("function", "dtype", "size"), INSTANCES)
def test_memory_is_the_limit(nvrtc, function, dtype, size):
    """An H200 takes longer to move a kernel's data than to start its instructions.

    By NVIDIA's data sheet it moves 4.8 TB/s: 20 bytes a clock for each of its 132 multiprocessors
    at 1.8 GHz. Each starts one instruction a clock for 128 threads (CUDA C++ Programming Guide,
    compute capability 9.0). An eighth of the instructions is kept in reserve.
    """
    ptx = compile_to_ptx(nvrtc, function, dtype, 90)
    instructions = entry(ptx, "contiguous").count(";")
    moved = 4 * 16 * (len(FUNCTIONS[function].arrays) + 1)  # bytes a thread moves: four packs
    assert instructions < 7 / 8 * 128 * moved / 20


def test_loads_come_before_stores(nvrtc):
    """A thread issues its four loads before the first store waits for one of them."""
    body = entry(
        compile_to_ptx(nvrtc, "relu", "float32", nvrtc.getSupportedArchs()[-1]), "contiguous"
    )
    wide = [what for what, size in accesses(body) if size == 16]
    assert wide == ["ld"] * 4 + ["st"] * 4
