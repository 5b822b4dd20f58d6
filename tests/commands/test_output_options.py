"""How `colorgan colorize` writes a colouring, and what it keeps, as a user types it."""

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.test_outputs import animals, colorize, in_a_process, names  # noqa: F401
from tests.images import annotated
from tests.images.annotated import photograph, told
from tests.test_cli import photograph as noise


def test_a_colouring_keeps_what_its_photograph_says(animals: str, tmp_path: Path) -> None:  # noqa: F811
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(photograph("JPEG"))
    out = tmp_path / "out.jpg"
    assert colorize(animals, photo, "-o", out) == 0
    found = told(out.read_bytes())
    assert found["description"] == annotated.DESCRIPTION
    assert (found["latitude"], found["profile"][36:40]) == (None, b"acsp")
    assert colorize(animals, photo, "-o", out, "--overwrite", "--keep-gps", "--keep-profile") == 0
    found = told(out.read_bytes())
    assert (found["latitude"], found["profile"]) == (
        (annotated.GPS, 30, 0),
        annotated.RGB_PROFILE,
    )
    assert colorize(animals, photo, "-o", out, "--overwrite", "--metadata", "drop") == 0
    found = told(out.read_bytes())
    assert (found["description"], found["xmp"], found["profile"]) == ("", b"", b"")


def test_a_scan_of_16_bits_stays_one(animals: str, tmp_path: Path) -> None:  # noqa: F811
    levels = (annotated.pixels() * 65535).astype(np.uint16)
    (tmp_path / "scan.tif").write_bytes(annotated.tiff(levels, profile=b""))
    assert colorize(animals, tmp_path / "scan.tif", "-o", tmp_path / "out", "--format", "same") == 0
    with Image.open(tmp_path / "out" / "scan.tif") as image:
        assert image.tag_v2[258] == (16, 16, 16)  # type: ignore[attr-defined]


def test_times_are_kept_if_the_user_says_so(animals: str, tmp_path: Path) -> None:  # noqa: F811
    photo = noise(tmp_path / "photo.png")
    os.utime(photo, ns=(-(10**18) + 123_000, -(10**18) + 456_000))  # in 1938
    for option, is_kept in (("--keep-times", True), ("--metadata=keep", False)):
        out = tmp_path / f"out{option}.png"
        assert colorize(animals, photo, "-o", out, option) == 0
        assert (out.stat().st_mtime_ns == photo.stat().st_mtime_ns) == is_kept


def test_each_photograph_is_written_in_its_own_format(animals: str, tmp_path: Path) -> None:  # noqa: F811
    folder = tmp_path / "in"
    folder.mkdir()
    for name, kind in (
        *(("a.JPG", "JPEG"), ("b.jpeg", "JPEG"), ("c.tiff", "TIFF"), ("d.webp", "WebP")),
        *(("e.png", "PNG"), ("f.avif", "AVIF"), ("h", "JPEG"), ("i.heic", "HEIC")),
    ):
        (folder / name).write_bytes(photograph(kind))
    Image.new("L", (9, 8), 70).save(folder / "g.bmp")
    photos = sorted(folder.iterdir())
    assert colorize(animals, *photos, "-o", tmp_path / "out", "--format", "same") == 0
    assert names(tmp_path / "out") == [
        *("a.JPG", "b.jpeg", "c.tiff", "d.webp", "e.png", "f.avif", "g.png", "h.png", "i.jpg")
    ]
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            expected = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
            assert image.format == (expected or path.suffix[1:].upper())


def test_standard_output_may_have_the_photographs_own_format(
    animals: str,  # noqa: F811
) -> None:
    arguments = ("colorize", "-", "-o", "-", "--format", "same", "--model", "animals")
    process = in_a_process(animals, *arguments, stdin=subprocess.PIPE)
    out, err = process.communicate(photograph("WebP"))
    assert process.returncode == 0, err
    with Image.open(io.BytesIO(out)) as image:
        assert image.format == "WEBP"


def test_a_larger_photograph_is_taken_if_the_user_says_so(
    animals: str,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = [noise(tmp_path / "small.png", 40, 40), noise(tmp_path / "large.png", 41, 40)]
    assert colorize(animals, *photos, "-o", tmp_path / "out", "--max-pixels", 1600) == 1
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert "41 x 40, more than 1,600" in error
    assert error.endswith("; --max-pixels N takes more")
    assert names(tmp_path / "out") == ["small.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--quality", "101", "--format", "jpeg"), "--quality must lie between 1 and 100"),
        (("--quality", "90"), "png keeps every pixel: --quality is for jpeg, webp, avif"),
        (("--max-pixels", "0"), "--max-pixels must be at least 1"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(
    animals: str,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    photo = noise(tmp_path / "photo.png")
    assert colorize(animals, photo, "-o", tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_format_that_pillow_lacks_is_one_sentence(
    animals: str,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    photo = noise(tmp_path / "photo.png")
    assert colorize(animals, photo, "-o", tmp_path / "out.avif") == 2
    assert "Pillow 11.3 or newer reads and writes it" in capsys.readouterr().err
