"""The rules that give the house its shape."""

import subprocess
import sys

from tests.conftest import CHECKOUT

IMPORT_ALL = """
import importlib, pkgutil, sys, colorgan
for module in pkgutil.walk_packages(colorgan.__path__, "colorgan."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
above = {"ray", "cluster", "jobs", "serve", "tune"}
print(sorted({name.split(".")[0] for name in sys.modules} & above))
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_library_imports_neither_ray_nor_the_layers_above_it() -> None:
    assert python(IMPORT_ALL) == "[]"


def test_no_line_of_the_library_imports_ray() -> None:
    # An import inside a function would escape the test above.
    for path in (CHECKOUT / "colorgan").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.strip().startswith(("import ray", "from ray")), f"{path}: {line}"


def test_the_command_line_answers_without_loading_pytorch() -> None:
    code = "import sys, colorgan.cli; print('torch' in sys.modules)"
    assert python(code) == "False"
