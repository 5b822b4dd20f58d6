"""Commands that other packages add to `colorgan` by entry points."""

import os
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from colorgan.cli import GROUP, main
from colorgan.commands.command import Command
from tests.conftest import CHECKOUT

MODULE = """
from colorgan.commands.command import Command

HELLO = Command("greet somebody", "hello_module", "prepare")

def prepare(parser):
    parser.add_argument("name")
    parser.set_defaults(command=greet)

def greet(args):
    print(f"hello {args.name}, storage {args.storage}")
    return 7
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds a package with commands of its own."""
    (tmp_path / "hello_module.py").write_text(MODULE)
    folder = tmp_path / "hello-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{GROUP}]\n"
        "hello = hello_module:HELLO\n"
        "gone = hello_module:GONE\n"
        "lost = no_such_module:LOST\n"
        "models = hello_module:HELLO\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(CHECKOUT)))}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "colorgan", *arguments]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)


def test_a_command_of_another_package_is_listed_and_run(installed: dict[str, str]) -> None:
    listed = run(installed, "--help")
    assert listed.returncode == 0, listed.stderr
    assert "greet somebody" in listed.stdout
    assert "gone" not in listed.stdout and "lost" not in listed.stdout

    done = run(installed, "hello", "Ada", "--storage", "here")
    assert (done.stdout, done.returncode) == ("hello Ada, storage here\n", 7), done.stderr


def test_a_command_of_the_librarys_own_is_not_replaced(installed: dict[str, str]) -> None:
    done = run(installed, "models", "--help")
    assert "List the models in storage" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["gone", "moon"])
def test_what_is_no_command_is_said_in_one_sentence(installed: dict[str, str], name: str) -> None:
    done = run(installed, name)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: unknown command '{name}': choose from stage, ")
    assert "pip install -e ." in line


def test_the_projects_own_entry_points_lead_to_commands(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][GROUP]
    assert list(points) == ["jobs"]
    for name, value in points.items():
        command = EntryPoint(name, value, GROUP).load()
        assert isinstance(command, Command)
        parser = ArgumentParser()
        module = __import__(command.module, fromlist=[command.prepare])
        getattr(module, command.prepare)(parser)
        assert callable(parser.parse_args([]).command)


def test_the_installation_has_the_command_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["jobs", "--help"])
    assert ended.value.code == 0
    assert "list the cluster's jobs" in capsys.readouterr().out.lower()
