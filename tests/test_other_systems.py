"""What colorgan does without what Windows and macOS lack of Linux, as far as Linux shows.

A process of its own imports what colorgan stands on, takes away the modules and functions that
exist on POSIX alone, and then says that it is Windows or a Mac.
"""

from pathlib import Path

import pytest
import torch

from colorgan.errors import ConfigError
from colorgan.storage import open_storage
from colorgan.system import choose_device
from tests.conftest import CHECKOUT
from tests.warm.client import WarmStart

_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios")
_MAC_LACKS = ("os.sched_getaffinity", "os.posix_fallocate")
_WINDOWS_LACKS = (
    *_MAC_LACKS,
    *("os.fchmod", "os.geteuid", "os.getloadavg", "os.getuid", "os.O_DIRECTORY"),
    "signal.pthread_kill",
)

_PROGRAM = """
import importlib, io, os, pkgutil, signal, sys
import colorgan

def names():
    found = pkgutil.walk_packages(colorgan.__path__, "colorgan.")
    return [each.name for each in found if each.name != "colorgan.__main__"]

for name in names():
    importlib.import_module(name)
for name in [*sys.modules]:
    if name == "colorgan" or name.startswith("colorgan."):
        del sys.modules[name]
for name in MODULES:
    sys.modules[name] = None
for name in FUNCTIONS:
    module, _, function = name.partition(".")
    delattr({"os": os, "signal": signal}[module], function)
read = io.open
def without_proc(file, *arguments, **options):
    if str(file).startswith("/proc"):
        raise FileNotFoundError(2, "there is no such file", str(file))
    return read(file, *arguments, **options)
io.open = without_proc
sys.platform = PLATFORM
import colorgan
for name in names():
    importlib.import_module(name)

from colorgan.cli import main
from colorgan.data.cache import find_cache
from colorgan.processes import this_process
from colorgan.system import about_machine, processors
assert processors() >= 1
about_machine()
assert not this_process().is_dead()
with find_cache().keep("0" * 64, 3, lambda file: file.write(b"abc"), lambda: None) as kept:
    assert kept.read() == b"abc"
storage = ["--storage", "storage"]
small = ["--size", "32", "--width", "4", "--discriminator-width", "4", "--epochs", "1"]
staged = ["--size", "64", "--min-side", "32", "--per-class", "8"]
assert main(["stage", "scenes", *storage, "--dataset", "d", *staged]) == 0
trained = ["--dataset", "d", "--model", "animals", "--preset", "small", "--device", "cpu"]
assert main(["train", *storage, *trained, *small]) == 0
assert main(["colorize", *storage, "photo.png", "-o", "new.png", "--model", "animals"]) == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "functions"), [("win32", _WINDOWS_LACKS), ("darwin", _MAC_LACKS)]
)
def test_everything_is_imported_staged_trained_and_coloured_without_posix(
    platform: str, functions: tuple[str, ...], warm: WarmStart, tmp_path: Path, photo: Path
) -> None:
    modules = _MODULES if platform == "win32" else ()
    facts = f"MODULES, FUNCTIONS, PLATFORM = {modules}, {functions}, {platform!r}"
    environment = {"PYTHONPATH": str(CHECKOUT), "COLORGAN_CACHE": str(tmp_path)}
    done = warm.run(["-c", f"{facts}\n{_PROGRAM}"], environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "new.png").exists()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.effect_noise((60, 40), 50).save(path)
    return path


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "expected"),
    [
        (True, True, "auto", "cuda"),
        (False, True, "auto", "mps"),
        (False, True, "gpu", "mps"),
        (True, False, "gpu", "cuda"),
        (True, True, "cpu", "cpu"),
        (False, False, "auto", "cpu"),
    ],
)
def test_a_gpu_of_apple_comes_after_cuda_and_before_the_cpu(
    cuda: bool, mps: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device(name) == torch.device(expected)


def test_without_any_gpu_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no GPU"):
        choose_device("gpu")


def test_a_drive_is_no_scheme() -> None:
    assert "://" not in open_storage("C://photographs").uri
