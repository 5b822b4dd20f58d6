"""Temporary folders, also of processes that were killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from colorgan import temporary
from colorgan.processes import ProcessIdentity
from colorgan.temporary import delete_abandoned, temporary_folder

CHECKOUT = Path(__file__).parents[1]

KEEPER = """
import sys
from pathlib import Path
from colorgan.temporary import temporary_folder
with temporary_folder("test", Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(bytes(100))
    print(folder, flush=True)
    sys.stdin.read()
"""


def leave_behind(parent: Path) -> Path:
    """Let a process make a temporary folder, and kill it; returns the folder."""
    command = [sys.executable, "-c", KEEPER, str(parent)]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        process.kill()
    return folder


def test_a_folder_leaves_nothing(tmp_path: Path) -> None:
    with temporary_folder("test", tmp_path) as folder:
        (folder / "file").write_text("words")
        assert list(folder.iterdir()) == [folder / "file"]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_is_deleted_with_the_next_and_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "colorgan-of-somebody").mkdir()
    command = [sys.executable, "-c", KEEPER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        assert delete_abandoned(tmp_path) == [] and folder.is_dir()
        process.kill()
        process.wait()
        with temporary_folder("other", tmp_path) as mine:
            left = {path for path in tmp_path.iterdir() if path.is_dir()}
            assert left == {mine, tmp_path / "colorgan-of-somebody"}


def test_a_process_that_knows_no_boot_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = ProcessIdentity("", 0, 1, 0)  # as on Windows and macOS, which have no /proc
    with temporary_folder("test", tmp_path) as folder:
        monkeypatch.setattr(temporary, "this_process", lambda: unknown)
        assert delete_abandoned(tmp_path) == [] and folder.is_dir()
