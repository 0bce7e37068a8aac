"""A module that Python's import machinery imports as soon as it has imported another package."""

import subprocess
import sys

import pytest

CODE = """
import sys
sys.path.insert(0, {folder!r})
from relu_xp._arrivals import when_imported
before = list(sys.meta_path)
when_imported("package_here", "after_it")
"""


def run(folder, code):
    code = CODE.format(folder=str(folder)) + code
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "__init__.py").write_text(
        "print('package'); from package_here import part"
    )
    (tmp_path / "package_here" / "part.py").write_text("print('part')")
    (tmp_path / "after_it.py").write_text(
        "import package_here; print('after', hasattr(package_here, 'part'))"
    )
    return tmp_path


@pytest.mark.parametrize(
    "code",
    [
        "import package_here",
        "import package_here.part",
        "from package_here import part",
        "import importlib.util as u; u.find_spec('package_here'); u.find_spec('package_here.part')",
        "import after_it",
        "import json; assert 'after_it' not in sys.modules; import package_here",
    ],
)
def test_it_comes_after_the_package(folder, code):
    assert run(folder, f"{code}; import package_here") == ["package", "part", "after", "True"]


def test_nothing_of_it_stays(folder):
    code = "import package_here; assert sys.meta_path == before; "
    code += "print('exec_module' in vars(package_here.__loader__))"
    assert run(folder, code)[-1] == "False"
    assert (
        run(folder, "import package_here, importlib; importlib.reload(package_here)").count("after")
        == 1
    )


def test_a_package_that_is_not_there(folder):
    code = "import shutil; shutil.rmtree({0!r})\ntry: import package_here\n"
    code += "except ModuleNotFoundError as e: print(e.name)"
    assert run(folder, code.format(str(folder / "package_here"))) == ["package_here"]


def test_a_package_that_fails_is_tried_again(folder):
    (folder / "package_here" / "__init__.py").write_text(
        "import os; 1 / int(os.environ.get('N', '0'))"
    )
    code = "import os\ntry: import package_here\n"
    code += "except ZeroDivisionError: os.environ['N'] = '1'\nimport package_here"
    assert run(folder, code) == ["after", "False"]


@pytest.mark.parametrize("order", ["import package_here, relu_xp", "import relu_xp, package_here"])
def test_what_fails_of_ours_breaks_nothing(folder, order):
    (folder / "after_it.py").write_text("raise OSError")
    assert run(folder, f"{order}; print(relu_xp.relu(-1))") == ["package", "part", "0"]


def test_a_namespace_package(folder):
    (folder / "package_here" / "__init__.py").unlink()
    assert (
        run(
            folder,
            "import package_here.part; print(relu_xp.relu(-1))".replace(
                "print", "import relu_xp; print"
            ),
        )[-1]
        == "0"
    )


@pytest.mark.parametrize("order", ["import keras, relu_xp", "import relu_xp, keras"])
def test_another_module_called_keras(folder, order):
    """A file of the user's by that name, or a damaged installation."""
    (folder / "keras.py").write_text("answer = 42")
    assert run(folder, f"{order}; print(keras.answer, relu_xp.relu(-1))") == ["42", "0"]
