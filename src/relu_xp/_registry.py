"""The backends, one row each: whoever needs a list of them reads it here.

Only the standard library is imported, and nothing of relu_xp: the noxfile loads this file by its
path, before relu_xp is installed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What must be known of a backend without importing it."""

    name: str  # its library's package, and the name for `--backend`
    page: str  # its page in docs/backends
    module: str = ""  # the module in `_backends` that serves it, if its name is another
    packages: tuple[str, ...] = ()  # further packages that its arrays' classes come from
    distributions: tuple[str, ...] = ()  # what `info` lists versions of, if not of its name
    install: str = ""  # the arguments of `pip install`, if not its name
    writeable: bool = False  # whether its arrays can be written to, so that `out` may be one
    holds_arrays: bool = False  # whether its arrays hold those of other libraries
    surveyed: bool = True  # whether `verify`, `bench` and `info` look for its devices

    @property
    def served_by(self) -> str:
        """The full name of the module that serves it."""
        return f"relu_xp._backends.{self.module or self.name}"


# In the order of every list. A library of the array API standard needs no row to be served: those
# that have one are known to the tests, the verifier and the demo.
REGISTRY = (
    Row("numpy", "numpy", writeable=True),
    Row("jax", "jax", packages=("jaxlib",), distributions=("jax", "jaxlib")),
    Row(
        "cupy",
        "cupy",
        distributions=("cupy-cuda12x", "cupy-cuda13x"),
        install="cupy-cuda13x ml_dtypes",
        writeable=True,
    ),
    Row("torch", "pytorch", writeable=True),
    Row("tensorflow", "tensorflow", distributions=("tensorflow", "tensorflow-cpu")),
    Row("dask", "dask", holds_arrays=True),
    Row("xarray", "labelled", holds_arrays=True),
    Row("pandas", "labelled", holds_arrays=True),
    Row("polars", "labelled", holds_arrays=True),
    Row("scipy", "scipy", holds_arrays=True),
    Row("pint", "labelled", holds_arrays=True),
    Row(
        "array_api_strict",
        "index",
        module="array_api",
        distributions=("array-api-strict",),
        install="array-api-strict",
        writeable=True,
    ),
    Row("sparse", "index", module="array_api"),
    Row("ndonnx", "index", module="array_api"),
    Row("mlx", "index", module="array_api", writeable=True),
    # A symbolic tensor holds no values, so there is nothing to survey.
    Row("keras", "keras", surveyed=False),
    Row("python", "index", packages=("builtins",), surveyed=False),
)
SURVEYED = tuple(row for row in REGISTRY if row.surveyed)
