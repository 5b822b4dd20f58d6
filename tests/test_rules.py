"""The rules that give the house its shape."""

import subprocess
import sys

import pytest

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


def test_colouring_does_without_what_takes_as_long_to_import_as_pytorch() -> None:
    code = (
        "import sys, colorgan.commands.photographs\n"
        "colorgan.inference.router.load_classifier()\n"
        "print({'torchvision', 'timm', 'torch._dynamo', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    assert python(code) == "set()"


@pytest.mark.parametrize(
    "module",
    [
        *(
            "colorgan.cli",
            "colorgan.training.presets",
            "colorgan.training.runs",
            "colorgan.training.progress",
        ),
        *(f"colorgan.commands.{name}" for name in ("datasets", "jobs", "models", "staging")),
        *("jobs.train_all", "jobs.stage_data", "cluster.training"),
    ],
)
def test_what_needs_no_network_answers_without_loading_pytorch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    assert python(code) == "False"
