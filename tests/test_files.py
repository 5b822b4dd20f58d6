"""What a command writes for its user: never over what is there, and whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colorgan.errors import ConfigError
from colorgan.files import NotWritten, check_outputs, check_stream, write_file
from tests.conftest import CHECKOUT

OLD = b"what was there before"


def same(path: Path) -> Path:
    return path


def hard_link(path: Path) -> Path:
    link = path.with_name("hard.png")
    link.hardlink_to(path)
    return link


def symbolic_link(path: Path) -> Path:
    link = path.with_name("soft.png")
    link.symlink_to(path.name)
    return link


def other_spelling(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


def through_a_linked_folder(path: Path) -> Path:
    folder = path.parent.with_name("linked")
    folder.symlink_to(path.parent)
    return folder / path.name


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "old.png"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "as_output", [same, hard_link, symbolic_link, other_spelling, through_a_linked_folder]
)
def test_no_output_is_an_input_however_it_is_called(
    old: Path, as_output: Callable[[Path], Path], overwrite: bool
) -> None:
    output = as_output(old)
    for source, target in ((old, output), (output, old)):
        with pytest.raises(ConfigError, match="is an input and cannot be overwritten"):
            check_outputs([target], [source], overwrite)


def test_standard_streams_are_files_too(old: Path) -> None:
    with old.open("rb") as file:
        with pytest.raises(ConfigError, match="is an input and cannot be overwritten"):
            check_outputs([old], [file.fileno()], overwrite=True)
        with pytest.raises(ConfigError, match="standard output"):
            check_stream(file.fileno(), [old])
        check_stream(file.fileno(), [old.with_name("other.png")])
    with Path(os.devnull).open() as null:
        check_stream(null.fileno(), [null.fileno()])


def test_what_exists_is_replaced_only_where_that_is_said(old: Path) -> None:
    with pytest.raises(ConfigError, match=f"{old} exists: .*--overwrite"):
        check_outputs([old])
    dangling = old.with_name("dangling.png")
    dangling.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="exists"):
        check_outputs([dangling])
    outputs = [old.with_name(f"{number}.png") for number in range(3)]
    for path in outputs[1:]:
        path.write_bytes(OLD)
    with pytest.raises(ConfigError, match=f"2 of the 3 .*{outputs[1]} first.*--skip-existing"):
        check_outputs(outputs)
    check_outputs([*outputs, old, dangling], overwrite=True)


def test_two_outputs_that_are_one_file_are_refused(old: Path) -> None:
    # As A.png and a.png are on a file system that ignores case.
    with pytest.raises(ConfigError, match="are the same file"):
        check_outputs([old, hard_link(old)], overwrite=True)


def test_a_place_that_takes_no_file_is_refused_before_any_work(tmp_path: Path, old: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for path, words in (
        (tmp_path / "folder.png", "it is a folder"),
        (tmp_path / "pipe.png", "not a regular file"),
        (old / "x.png", f"{old} is not a folder"),
        (tmp_path / "none" / "x.png", "there is no folder .*none"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_outputs([path], overwrite=True)
    check_outputs([tmp_path / "none" / "none" / "x.png"], new_folders=True)
    with pytest.raises(ConfigError, match=f"{old} is not a folder"):
        check_outputs([old / "none" / "x.png"], new_folders=True)


def test_a_file_is_as_private_as_the_user_wants(old: Path) -> None:
    new = old.with_name("new.png")
    before = os.umask(0o027)
    try:
        write_file(new, b"new")
        old.chmod(0o600)
        write_file(old, b"new", overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert old.read_bytes() == new.read_bytes() == b"new"


def test_a_file_that_appears_in_between_is_not_lost(old: Path) -> None:
    check_outputs([old.with_name("new.png")])
    old.rename(old.with_name("new.png"))
    with pytest.raises(NotWritten, match="has appeared") as raised:
        write_file(old.with_name("new.png"), b"new")
    assert not raised.value.full
    assert {path.name: path.read_bytes() for path in old.parent.iterdir()} == {"new.png": OLD}


def test_what_replaces_a_link_leaves_its_file_alone(old: Path) -> None:
    link = symbolic_link(old)
    write_file(link, b"new", overwrite=True)
    assert (old.read_bytes(), link.read_bytes()) == (OLD, b"new")


def test_a_name_of_full_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(NotWritten, match="File name too long"):
        write_file(tmp_path / ("x" * 252 + ".png"), b"new")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


WRITE = """
import sys
from pathlib import Path
from colorgan.files import NotWritten, write_file
try:
    write_file(Path(sys.argv[1]), bytes(1_000_000), overwrite=True)
except NotWritten as error:
    print(error.full, error)
"""


def write_a_megabyte(path: Path, limit: Callable[[], None] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limit,
    )
    return done.stdout.strip()


def test_a_file_that_cannot_be_finished_leaves_the_one_of_before(old: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    assert write_a_megabyte(old, limit) == f"False cannot write {old}: File too large"
    assert {path.name: path.read_bytes() for path in old.parent.iterdir()} == {"old.png": OLD}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("mounting needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_leaves_the_file_of_before(small_disk: Path) -> None:
    old = small_disk / "old.png"
    old.write_bytes(OLD)
    assert write_a_megabyte(old) == f"True cannot write {old}: No space left on device"
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == {"old.png": OLD}
