"""Says why NumPy's compiled loops are missing, and how to get them; warns of it once a process."""

import importlib.machinery
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from relu_xp import _checks, _native

WORTH_A_WARNING = 1 << 16  # elements from which a user notices what the formulas cost
_VARIABLE = "RELU_XP_NATIVE"  # "optional" where the loops are known to be missing
# pip would find the same version installed, or a wheel without loops among those that it keeps.
_REBUILD = (
    "run `python3 -m pip install --force-reinstall --no-deps --no-cache-dir .` in the project's "
    "folder, or with `relu-xp` in place of the dot"
)


def reason(error: Exception) -> str:
    """Say why the import failed: the files tell it, since Python's messages do not differ."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    folder = Path(_native.__path__[0])
    built = [
        path.name for path in folder.glob("_ufuncs.*") if path.suffix in (".so", ".pyd", ".dylib")
    ]
    if not folder.is_dir():
        return (
            f"they cannot be loaded out of an archive, {folder}; unpack it, or pip install relu-xp"
        )
    if not built:
        found = "pip found no C++ compiler, or this is a copy of the sources"
        return f"{found}. Install g++ or clang, then {_REBUILD}"
    if not any(
        name.removeprefix("_ufuncs") in importlib.machinery.EXTENSION_SUFFIXES for name in built
    ):
        return f"{built[0]} is not for this Python, {sys.implementation.cache_tag}; {_REBUILD}"
    if int(np.__version__.partition(".")[0]) < 2:
        return f"they need NumPy 2, and this is {np.__version__}; upgrade NumPy"
    if "RELU_XP_CPU" in text:
        return f"{text}; unset it, or name one of these"
    return f"{built[0]} cannot be loaded: {text}; {_REBUILD}"


class Warner:
    """Warns once, at the first large array."""

    def __init__(self) -> None:
        self.reason = ""  # empty if the loops are there

    def __call__(self, x: Any) -> None:
        """Warn at the caller's line, unless the environment allows the loops to be missing."""
        if not self.reason or x.size < WORTH_A_WARNING:
            return
        told, self.reason = self.reason, ""
        if os.environ.get(_VARIABLE) != "optional":
            _checks.warn(
                f"relu_xp: NumPy arrays take the slow formulas, with the same bits, since the "
                f"compiled loops are missing: {told}. {_VARIABLE}=optional silences this"
            )


warn = Warner()
