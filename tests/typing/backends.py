"""Our own backends are as `relu_xp.backends` asks of a plug-in: type-checked by mypy, never run."""

from relu_xp._backends import (
    array_api,
    cupy,
    dask,
    jax,
    keras,
    numpy,
    pandas,
    pint,
    polars,
    python,
    scipy,
    tensorflow,
    torch,
    xarray,
)
from relu_xp.backends import Advising, Backend, Delegating

computing: list[Backend] = [array_api, cupy, jax, keras, numpy, python, tensorflow, torch]
delegating: list[Delegating] = [dask, pandas, pint, polars, scipy, xarray]
advising: list[Advising] = [array_api, keras, pandas, polars, tensorflow]

delegates: Backend = dask  # type: ignore[assignment]  # it has no `call`
