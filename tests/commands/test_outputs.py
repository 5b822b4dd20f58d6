"""Where `colorgan colorize` writes, and what it never writes over."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from tests.conftest import CHECKOUT
from tests.packages.test_packages import publish_animals
from tests.test_cli import photograph
from tests.test_files import small_disk  # noqa: F401 - a fixture


@pytest.fixture
def animals(scenes: Dataset) -> str:
    """A storage with a tiny model of animals."""
    publish_animals(scenes)
    return scenes.storage.uri


def colorize(storage: str, *arguments: object) -> int:
    options = ("--storage", storage, "--model", "animals")
    return main(["colorize", *options, *map(str, arguments)])


def in_a_process(storage: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "colorgan", arguments[0], "--storage", storage, *arguments[1:])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        **options,  # type: ignore[call-overload]
    )


def names(folder: Path = Path()) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.format, image.size


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",), ("--skip-existing",)])
@pytest.mark.parametrize("output", [".", "old.png", "./", "hard.png", "soft.png", "../photos"])
def test_an_original_is_never_written_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    overwrite: tuple[str, ...],
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    original = photograph(Path("old.png")).read_bytes()
    Path("hard.png").hardlink_to("old.png")
    Path("soft.png").symlink_to("old.png")
    # There is no model: it is decided before one would be looked for.
    assert colorize(str(tmp_path / "none"), "old.png", "-o", output, *overwrite) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ".png is an input" in line
    assert Path("old.png").read_bytes() == original
    assert names() == ["hard.png", "old.png", "soft.png"]


def test_one_photograph_s_colouring_is_not_written_over_another_photograph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = photograph(tmp_path / "a.tif"), photograph(tmp_path / "a.png")
    original = other.read_bytes()
    (tmp_path / "b.jpg").symlink_to(other)
    photographs = (one, tmp_path / "b.jpg")
    assert colorize("none", *photographs, "-o", tmp_path, "--overwrite") == 2
    assert f"{other} is an input" in capsys.readouterr().err
    assert other.read_bytes() == original


def test_what_exists_is_kept_replaced_or_skipped_as_the_user_says(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [photograph(tmp_path / f"{name}.png") for name in "abc"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.png").write_bytes(b"of before")
    assert colorize(animals, *photos, "-o", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"1 of the 3 files to write exists already, {out}/b.png first" in line
    assert names(out) == ["b.png"]

    assert colorize(animals, *photos, "-o", out, "--skip-existing") == 0
    captured = capsys.readouterr()
    assert "skipped 1 whose output exists" in captured.err
    assert [line.split(": ")[0] for line in captured.out.splitlines()] == [
        f"{out}/a.png",
        f"{out}/c.png",
    ]
    assert (out / "b.png").read_bytes() == b"of before"
    assert colorize(str(tmp_path / "none"), *photos, "-o", out, "--skip-existing") == 0

    assert colorize(animals, *photos, "-o", out, "--overwrite") == 0
    assert opened((out / "b.png").read_bytes()) == ("PNG", (48, 40))
    assert names(out) == ["a.png", "b.png", "c.png"]


FORMATS = [
    (".jpg", "JPEG"),
    (".JPEG", "JPEG"),
    (".webp", "WEBP"),
    (".tif", "TIFF"),
    (".tiff", "TIFF"),
    (".png", "PNG"),
]


def test_the_name_decides_the_format(animals: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    for suffix, expected in FORMATS:
        target = tmp_path / f"new{suffix}"
        assert colorize(animals, photo, "-o", target) == 0
        assert opened(target.read_bytes()) == (expected, (11, 9))
        with Image.open(target) as image:
            assert ("A" in image.getbands()) == (expected != "JPEG")
    for picture_format, suffix in (("jpeg", "jpg"), ("tiff", "tif"), ("webp", "webp")):
        out = (
            f"{tmp_path}/as.{suffix}/"  # what ends with a slash is a folder, whatever it is called
        )
        assert colorize(animals, photo, "-o", out, "--format", picture_format) == 0
        (target,) = Path(out).iterdir()
        assert target.name == f"photo.{suffix}"
        assert opened(target.read_bytes())[0] == picture_format.upper()


BAD = [
    (("-o", "new.gif"), "pictures are written as .png, .jpg, .jpeg, .webp, .tif, .tiff"),
    (("-o", "new.jp2"), "for a folder of that name give new.jp2/"),
    (("-o", "new.jpg", "--format", "png"), "new.jpg is jpeg: drop --format png"),
    (("-o", "text"), "text is neither a folder nor named as a picture"),
    (("-o", "text/new.png"), "text is not a folder"),
    (("-o", "text/"), "text is not a folder"),
    (("-o", "new", "--page", "0"), "--page counts from 1"),
    (("b.png", "-o", "new.webp"), "give a folder for several"),
    (("b.png", "-o", "-"), "standard output takes one photograph"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_an_output_that_cannot_be_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("text")
    assert colorize("none", "a.png", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert names() == ["text"]


def test_what_a_format_cannot_hold_is_refused_before_it_is_coloured(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = photograph(tmp_path / "long.png", 16_384, 2)
    assert colorize(animals, photo, "-o", tmp_path / "long.webp") == 1
    error = capsys.readouterr().err
    assert "too large for the format" in error and "png and tiff hold more" in error
    assert not (tmp_path / "long.webp").exists()


def test_a_photograph_goes_through_standard_input_and_output(animals: str, tmp_path: Path) -> None:
    data = photograph(tmp_path / "photo.png").read_bytes()
    arguments = ("colorize", "-", "-o", "-", "--format", "webp", "--model", "animals")
    process = in_a_process(animals, *arguments, stdin=subprocess.PIPE)
    out, err = process.communicate(data)
    assert process.returncode == 0, err
    assert opened(out) == ("WEBP", (48, 40))
    assert err.decode().startswith("stdin: coloured by animals@")

    with (tmp_path / "photo.png").open("rb") as file:
        target = str(tmp_path / "photo.png")
        arguments = ("colorize", "-", "-o", target, "--overwrite", "--model", "animals")
        process = in_a_process(animals, *arguments, stdin=file)
        assert b"is an input" in process.communicate()[1]
    assert (tmp_path / "photo.png").read_bytes() == data


def test_standard_input_is_a_photograph_among_others(
    animals: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photograph(tmp_path / "photo.png")
    with photo.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert colorize(animals, photo, "-", "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["photo.png", "stdin.png"]
    one, other = ((tmp_path / "out" / name).read_bytes() for name in ("photo.png", "stdin.png"))
    assert one == other


def test_a_page_is_chosen(animals: str, tmp_path: Path) -> None:
    pages = [Image.new("L", (20 + number, 30), 99) for number in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    out = tmp_path / "second.png"
    assert colorize(animals, tmp_path / "scan.tif", "-o", out, "--page", 2) == 0
    assert opened(out.read_bytes())[1] == (21, 30)


def test_a_full_disk_ends_with_one_sentence_and_the_pictures_of_before(
    animals: str,
    small_disk: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = [photograph(tmp_path / f"{name}.png", 200, 200) for name in "abcd"]
    (small_disk / "d.png").write_bytes(b"of before")
    assert colorize(animals, *photos, "-o", small_disk, "--overwrite") == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    written = captured.out.count("coloured by")
    assert "No space left on device" in line and f"{written} of 4 are written" in line
    assert 0 < written < 4
    for path in small_disk.iterdir():
        if path.name != "d.png":
            assert opened(path.read_bytes()) == ("PNG", (200, 200))
    assert (small_disk / "d.png").read_bytes() == b"of before"
    assert len(names(small_disk)) == written + 1, "no temporary file is left"


def test_a_full_standard_output_is_one_sentence(animals: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = (sys.executable, "-m", "colorgan", "models", "--storage", animals)
        done = subprocess.run(command, cwd=CHECKOUT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"error: cannot write standard output: No space left on device\n"


def test_a_reader_that_has_gone_is_no_traceback(animals: str) -> None:
    read, write = os.pipe()
    os.close(read)
    command = (sys.executable, "-m", "colorgan", "models", "--storage", animals)
    done = subprocess.run(command, cwd=CHECKOUT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
