"""What PyInstaller does not see: what is imported by name, and the C++ text that CuPy compiles.

All backends go along; the libraries behind them only where the program itself imports them, or else
each program would have whatever is installed where it is frozen. For the same reason
array-api-compat, which imports some of them, goes along as files, whose imports nobody follows.
"""

import contextlib

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

from relu_xp._dispatch import BACKENDS

hiddenimports = [*collect_submodules("relu_xp._backends"), "relu_xp._machine", "relu_xp.keras"]
excludedimports = ["array_api_compat", "jaxlib", "keras", "ml_dtypes"]
excludedimports += [each for each in BACKENDS if each != "numpy"]
datas = collect_data_files("relu_xp", includes=["_native/rectifiers.*"])
datas += collect_data_files("array_api_compat", include_py_files=True)
with contextlib.suppress(Exception):  # a copy without metadata
    datas += copy_metadata("relu-xp")
