"""The rules that give the house its shape."""

import ast
import subprocess
import sys

from tests.conftest import CHECKOUT


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_colouring_does_without_what_takes_as_long_to_import_as_pytorch() -> None:
    code = (
        "import sys, colorgan.commands.photographs\n"
        "colorgan.inference.router.load_classifier()\n"
        "print({'torchvision', 'timm', 'torch._dynamo', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    assert python(code) == "set()"


WITHOUT_PYTORCH = (
    *("colorgan.cli", "colorgan.training.presets", "colorgan.training.runs"),
    *("colorgan.training.progress", "colorgan.commands.datasets", "colorgan.commands.models"),
    *("colorgan.commands.staging", "jobs.train_all", "jobs.stage_data"),
    *("cluster.training", "cluster.jobs_command"),
)


def test_what_needs_no_network_answers_without_loading_pytorch() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_PYTORCH}:\n"
        "    importlib.import_module(name)\n"
        "    print(*([name] if 'torch' in sys.modules else []))"
    )
    assert python(code).split() == [], "the first of these imports it, whatever the others do"


PYTHON_FILES = sorted(
    path
    for folder in ("benchmarks", "cluster", "colorgan", "jobs", "scripts", "serve", "tests", "tune")
    for path in (CHECKOUT / folder).rglob("*.py")
)


def test_a_job_has_less_than_150_lines() -> None:
    lengths = {
        path: len(path.read_text().splitlines()) for path in (CHECKOUT / "jobs").glob("*.py")
    }
    assert len(lengths) > 6
    assert {path: length for path, length in lengths.items() if length >= 150} == {}


def test_no_python_file_has_more_than_450_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PYTHON_FILES}
    assert len(lengths) > 300
    assert {path: length for path, length in lengths.items() if length > 450} == {}


def test_no_function_outside_the_tests_has_more_than_70_lines() -> None:
    long = {
        f"{path.relative_to(CHECKOUT)}: {function.name}"
        for path in PYTHON_FILES
        if path.relative_to(CHECKOUT).parts[0] != "tests"
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (function.end_lineno or 0) - function.lineno >= 70
    }
    assert long == set()
