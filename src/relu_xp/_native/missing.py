"""Says why NumPy's compiled loops are not there, and what to do; and warns of it, once a process."""

import importlib.machinery
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from relu_xp import _checks, _native

WORTH_A_WORD = 1 << 16  # elements from which the formulas cost what a user notices
_VARIABLE = "RELU_XP_NATIVE"  # "optional" where the loops are known to be missing
_REBUILD = "pip install relu-xp again"


def reason(error: Exception) -> str:
    """Tell the loops' ImportErrors apart by what is on the disk, since Python's words are the same."""
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
        compiler = "no C++ compiler when it was installed, or it is a copy of the sources"
        return f"{compiler}; install one, then {_REBUILD}"
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
    """Warns once, at the first array that is worth it."""

    def __init__(self) -> None:
        self.reason = ""  # none, where the loops are there

    def __call__(self, x: Any) -> None:
        """Warn at the caller's line, unless the environment says that the loops may be missing."""
        if not self.reason or x.size < WORTH_A_WORD:
            return
        told, self.reason = self.reason, ""
        if os.environ.get(_VARIABLE) != "optional":
            _checks.warn(
                f"relu_xp: NumPy arrays take the slow formulas, with the same bits, since the compiled loops "
                f"are missing: {told}. {_VARIABLE}=optional silences this"
            )


warn = Warner()
