"""Tells PyInstaller of modules that are imported by name, and of the text that CuPy compiles.

All backends go along, but their libraries only where the program itself imports them: else each
program would have all that is installed where it is frozen. array-api-compat imports some of those
libraries, so it goes along as data files, whose imports PyInstaller does not follow.
"""

import contextlib

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

from relu_xp._registry import REGISTRY

hiddenimports = [*collect_submodules("relu_xp._backends"), "relu_xp.keras"]
excludedimports = ["array_api_compat", "ml_dtypes"]
excludedimports += [
    package
    for row in REGISTRY
    if row.name not in ("numpy", "python")
    for package in (row.name, *row.packages)
]
datas = collect_data_files("relu_xp", includes=["_native/rectifiers.*"])
datas += collect_data_files("array_api_compat", include_py_files=True)
with contextlib.suppress(Exception):  # a copy without metadata
    datas += copy_metadata("relu-xp")
