"""`colorgan colorize` on folders and lists."""

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.storage import open_storage
from tests.conftest import CHECKOUT
from tests.packages.test_packages import publish_animals
from tests.s3_server import S3Server
from tests.test_cli import photograph
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def animals(scenes: Dataset) -> str:
    """A storage with a tiny model of animals."""
    publish_animals(scenes)
    return scenes.storage.uri


def colorize(storage: str, *arguments: object) -> int:
    return main(["colorize", "--storage", storage, "--model", "animals", *map(str, arguments)])


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def make_archive(root: Path) -> Path:
    """Six good photographs and five bad ones."""
    for name in ("a.png", "b.jpg", "1911/a.png", "1911/may/c.tif", "ü/x y.png", "ü/x y.bmp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(root / name)
    (root / "empty.jpg").write_bytes(b"")
    (root / "1911/text.jpg").write_text("no photograph")
    whole = (root / "b.jpg").read_bytes()
    (root / "1911/half.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "1911/may/link.jpg").symlink_to("/nowhere/link.jpg")
    frames = [Image.fromarray(np.full((9, 9, 3), level, np.uint8)) for level in (0, 99, 200)]
    frames[0].save(root / "ü/moving.gif", save_all=True, append_images=frames[1:])
    (root / "notes.txt").write_text("notes")
    return root


COLORED = ["1911/a.png", "1911/may/c.png", "a.png", "b.png", "ü/x y.bmp.png", "ü/x y.png"]
FAILED = {
    "1911/half.jpg": "truncated",
    "1911/may/link.jpg": "not found",
    "1911/text.jpg": "not an image",
    "empty.jpg": "empty",
    "ü/moving.gif": "animated",
}


def failures(data: str) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in csv.DictReader(io.StringIO(data))}


def test_a_folder_keeps_its_tree_and_failed_csv_says_what_failed(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = make_archive(tmp_path / "in"), tmp_path / "in" / "out"
    assert colorize(animals, archive, "-o", out, "--recursive") == 1
    assert files(out) == sorted([*COLORED, "failed.csv"])
    expected = {f"{archive}/{name}": reason for name, reason in FAILED.items()}
    assert failures((out / "failed.csv").read_text()) == expected
    captured = capsys.readouterr()
    assert captured.out.startswith("coloured 6 of 11 photographs (6 animals) in ")
    assert "failed 5: " in captured.out
    assert captured.err.count("error: ") == 5
    assert "left out 1 files that are not named as pictures: 1 .txt" in captured.err
    # A second start colours nothing again, and tries what failed.
    photograph(archive / "empty.jpg")
    kept = {name: (out / name).stat().st_mtime_ns for name in COLORED}
    assert colorize(animals, archive, "-o", out, "--recursive") == 2
    assert "--skip-existing to leave them" in capsys.readouterr().err
    assert colorize(animals, archive, "-o", out, "--recursive", "--skip-existing") == 1
    assert "coloured 1 of 5 photographs" in capsys.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in COLORED} == kept
    assert "empty.jpg" not in (out / "failed.csv").read_text()


def test_without_recursive_only_the_folder_itself_is_coloured(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archive(tmp_path / "in")
    assert colorize(animals, archive, "-o", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["a.png", "b.png", "failed.csv"]
    assert "left out 2 folders inside" in capsys.readouterr().err


def test_a_list_and_its_failures(
    animals: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(tmp_path / "in")
    names = ["1911/a.png", "1911/may/c.tif", "empty.jpg"]
    lines = "\n".join(str(archive / name) for name in names).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    out = tmp_path / "out"
    assert colorize(animals, "@-", "-o", out, "--format", "jpeg") == 1
    assert files(out) == ["1911/a.jpg", "1911/may/c.jpg", "failed.csv"]
    # failed.csv can be the next list.
    (tmp_path / "again").write_text("\n".join(failures((out / "failed.csv").read_text())))
    photograph(archive / "empty.jpg")
    assert colorize(animals, f"@{tmp_path / 'again'}", "-o", tmp_path / "more") == 0
    assert files(tmp_path / "more") == ["empty.png"]


def test_failed_csv_of_an_earlier_start_is_replaced_and_no_other_one(
    animals: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    photograph(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"")
    out = tmp_path / "out"
    assert colorize(animals, tmp_path / "in", "-o", out) == 1
    photograph(tmp_path / "in/b.png")
    assert colorize(animals, tmp_path / "in", "-o", out, "--skip-existing") == 0
    assert failures((out / "failed.csv").read_text()) == {}
    (out / "failed.csv").write_text("mine")
    (tmp_path / "in/b.png").write_bytes(b"")
    (out / "b.png").unlink()
    assert colorize(animals, tmp_path / "in", "-o", out, "--skip-existing") == 1
    assert (out / "failed.csv").read_text() == "mine"


def test_a_folder_without_photographs_is_one_sentence(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    photograph(tmp_path / "in/sub/a.png")
    assert colorize(animals, tmp_path / "in", "-o", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no photograph in" in line and "--recursive" in line


def test_a_bucket_is_coloured_into_a_bucket(
    animals: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{s3.new_bucket()}"
    storage = open_storage(bucket)
    archive = make_archive(tmp_path / "in")
    for name in files(archive):
        storage.put(f"in/{name}", (archive / name).read_bytes())
    options = (f"{bucket}/in", "-o", f"{bucket}/out", "--recursive")
    assert colorize(animals, *options) == 1
    assert storage.list("out") == sorted(f"out/{name}" for name in [*COLORED, "failed.csv"])
    failed = failures(storage.get("out/failed.csv").decode())
    assert set(failed) == {f"{bucket}/in/{name}" for name in FAILED if "link" not in name}
    assert colorize(animals, *options) == 2
    assert colorize(animals, *options, "--skip-existing") == 1
    # The colourings are those of the folder.
    colorize(animals, archive, "-o", tmp_path / "out", "--recursive")
    for name in COLORED:
        assert storage.get(f"out/{name}") == (tmp_path / "out" / name).read_bytes()


# In the background a shell lets its children ignore Ctrl-C.
HEARING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from colorgan.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_second_start_goes_on_after_the_first_was_stopped(
    animals: str, tmp_path: Path, number: signal.Signals
) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    archive.mkdir()
    done = [f"{letter}.png" for letter in "abcdef"]
    for name in done:
        photograph(archive / name)
    # Nothing can be read from a pipe without a writer, so the command cannot end.
    pipe = archive / "pipe.png"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", HEARING, "colorize", "--storage", animals]
    options = [str(archive), "-o", str(out), "--model", "animals", "--batch-size", "1"]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        wait_until(lambda: out.exists() and files(out) == done)
        process.send_signal(number)
        if number == signal.SIGINT:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # what is read is completed
        process.wait(PATIENCE_S)
    if number == signal.SIGINT:
        assert process.returncode == 130
        said = (tmp_path / "errors").read_text()
        assert "stopped; what is written is whole; --skip-existing continues from there" in said
    assert files(out) == done
    kept = {name: (out / name).stat().st_mtime_ns for name in done}
    pipe.unlink()
    photograph(pipe)
    assert colorize(animals, *options, "--skip-existing") == 0
    assert files(out) == [*done, "pipe.png"]
    assert {name: (out / name).stat().st_mtime_ns for name in done} == kept


def test_what_a_killed_process_left_is_deleted(animals: str, tmp_path: Path) -> None:
    archive, out = tmp_path / "in", tmp_path / "out"
    for folder in (archive, out):
        folder.mkdir()
    photograph(archive / "a.png")
    old, young = out / ".colorgan-tmp-old", out / ".colorgan-tmp-young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert colorize(animals, archive, "-o", out) == 0
    assert files(out) == [".colorgan-tmp-young", "a.png"]


def test_classify_takes_folders_too(
    embedded: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archive(tmp_path / "in")
    assert main(["classify", str(archive), "--recursive", "--storage", str(tmp_path / "s")]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1 + 6
    assert captured.err.count("cannot be classified") == 4
