"""The Dockerfile: what it copies, who runs it, and what hadolint says of it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or "hadolint"


def test_hadolint_has_nothing_to_say() -> None:
    if not shutil.which(HADOLINT):
        pytest.skip("hadolint is not installed: it comes with colorgan[dev]")
    done = subprocess.run([HADOLINT, "Dockerfile"], cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_build_gets_what_the_wheel_is_made_of_and_nothing_else() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    copied = {line[1:] for line in lines if line.startswith("!")}
    packages = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")} - {"tests", "scripts"}
    packages -= {"benchmarks"}
    assert lines[1] == "*"
    assert copied == packages | {"pyproject.toml", "README.md", "LICENSE"}
    assert all((CHECKOUT / name).exists() for name in copied)


def test_it_serves_as_an_ordinary_user_with_a_health_check_on_its_port() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["1000"]
    port = re.findall(r"^EXPOSE (\d+)$", final, re.MULTILINE)[0]
    assert f"http://127.0.0.1:{port}/healthz" in final.partition("HEALTHCHECK")[2]
    assert 'CMD ["python", "-m", "serve", "--local", "--host", "0.0.0.0"]' in final
    assert re.search(r"^ARG TORCH=cpu$", DOCKERFILE, re.MULTILINE)
