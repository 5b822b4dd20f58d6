"""`--restore` on the command line and in a program: old prints."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import colorgan
from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.images.borders import Box
from colorgan.images.lab import lightness
from colorgan.inference.colorizer import grayscale
from jobs.colorize import _parser as job_parser
from tests.commands.test_choices import pixels
from tests.commands.test_outputs import animals as animals
from tests.commands.test_outputs import colorize
from tests.images.test_borders import framed
from tests.images.test_prints import picture, sepia
from tests.images.test_prints import pixels as levels
from tests.packages.test_packages import publish_animals

WIDTHS = (10, 12, 14, 16)
BOX = Box(10, 250, 14, 334)
FADED = sepia(0.45 + 0.4 * picture())


@pytest.fixture
def print_(tmp_path: Path) -> Path:
    """A faded print with a border of yellow paper."""
    path = tmp_path / "print.png"
    Image.fromarray(framed(FADED, WIDTHS, np.uint8([250, 225, 180]))).save(path)
    return path


def is_gray(rgb: np.ndarray) -> bool:
    return bool((rgb.max(axis=-1) == rgb.min(axis=-1)).all())


def test_the_border_stays_gray_and_the_lightness_the_print_s_own(
    animals: str, print_: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, mended = print_.with_name("plain.png"), print_.with_name("mended.png")
    assert colorize(animals, print_, "-o", plain) == 0
    assert "stays gray" not in capsys.readouterr().err
    assert colorize(animals, print_, "-o", mended, "--restore") == 0
    said = capsys.readouterr().err
    assert "print.png: the border of the print stays gray\n" in said
    assert "print.png: faded contrast mended for the networks\n" in said
    before, after = pixels(plain), pixels(mended)
    assert not is_gray(before[:10]) and not is_gray(before[:, 334:])
    for border in (after[:10], after[250:], after[:, :14], after[:, 334:]):
        assert is_gray(border)
    assert not is_gray(BOX.of(after)[:1]) and not is_gray(BOX.of(after)[:, -1:])
    assert np.abs(lightness(after) - lightness(pixels(print_))).max() < 0.02
    assert (BOX.of(before) != BOX.of(after)).any(), "the networks see other tones"


def test_full_writes_the_mended_lightness_and_leaves_the_paper(animals: str, print_: Path) -> None:
    out = print_.with_name("full.png")
    assert colorize(animals, print_, "-o", out, "--restore", "full") == 0
    light, own = lightness(pixels(out)), lightness(pixels(print_))
    assert BOX.of(own).min() > 0.4 and BOX.of(light).min() < 0.1
    assert np.corrcoef(BOX.of(light).ravel(), picture().ravel())[0, 1] > 0.99
    np.testing.assert_allclose(light[:10], own[:10], atol=0.01)


def test_a_good_photograph_is_coloured_as_without_and_off_is_without(
    animals: str, print_: Path
) -> None:
    good = print_.with_name("good.png")
    Image.fromarray(levels(picture())).save(good)
    colored = []
    for photo, options in (
        *((good, each) for each in ((), ("--restore",), ("--restore=full",))),
        *((print_, each) for each in ((), ("--restore", "off"))),
    ):
        out = print_.with_name(f"{len(colored)}.png")
        assert colorize(animals, photo, "-o", out, *options) == 0
        colored.append(out.read_bytes())
    assert colored[0] == colored[1] == colored[2]
    assert colored[3] == colored[4]


def test_a_folder_and_sixteen_bits(animals: str, print_: Path) -> None:
    folder, out = print_.with_name("in"), print_.with_name("out")
    folder.mkdir()
    (folder / "a.png").write_bytes(print_.read_bytes())
    deep = np.pad(0.5 + 0.3 * picture(), 20, constant_values=0.95) * 65535
    Image.fromarray(deep.astype(np.uint16)).save(folder / "b.png")
    assert colorize(animals, folder, "-o", out, "--restore", "--format", "tiff") == 0
    with Image.open(out / "a.tif") as image:
        assert is_gray(np.asarray(image)[:10])
    wide = imagecodecs.tiff_decode((out / "b.tif").read_bytes())
    assert wide.dtype == np.uint16 and is_gray(wide[:20]) and not is_gray(wide[20:260, 20:340])
    np.testing.assert_array_equal(wide[:20, :, 0], deep[:20].astype(np.uint16))


MISPLACED = {
    "before": ("--restore", "print.png", "-o", "new.png"),
    "unknown": ("print.png", "-o", "new.png", "--restore", "print.png"),
}


@pytest.mark.parametrize("name", MISPLACED)
def test_a_photograph_after_the_option_is_told(
    animals: str,
    print_: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(print_.parent)
    with pytest.raises(SystemExit, match="2"):
        colorize(animals, *MISPLACED[name])
    words = capsys.readouterr().err
    assert "'print.png' is none of off, colors, full: give --restore after the photographs" in words


def test_a_hint_on_the_border_is_one_sentence_and_2(
    animals: str, print_: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = print_.with_name("new.png")
    assert colorize(animals, print_, "-o", out, "--restore", "--hint", "2,2,#0000ff") == 2
    assert "the hint at 2,2 lies on the border of the print" in capsys.readouterr().err


def test_a_program_restores_in_the_same_way(scenes: Dataset, print_: Path, animals: str) -> None:
    publish_animals(scenes)
    color = colorgan.load(scenes.storage.uri, models="animals", device="cpu")
    out = print_.with_name("mended.png")
    assert colorize(scenes.storage.uri, print_, "-o", out, "--restore") == 0
    np.testing.assert_array_equal(np.asarray(color(print_, restore="colors")), pixels(out))
    np.testing.assert_array_equal(color(pixels(print_), restore="colors"), pixels(out))
    gray = grayscale(pixels(print_))
    np.testing.assert_array_equal(color(pixels(print_), restore="colors")[:10], gray[:10])
    with pytest.raises(colorgan.errors.ConfigError, match="restore is one of off, colors, full"):
        color(print_, restore="tones")  # type: ignore[call-overload]


def test_classify_sees_the_mended_print(
    print_: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = []
    for options in ((), ("--restore",)):
        storage = ("--storage", str(tmp_path / "storage"))
        assert main(["classify", str(print_), *storage, "--json", *options]) == 0
        scores.append(json.loads(capsys.readouterr().out)[0]["scores"])
    assert scores[0] != scores[1]


def test_the_job_has_the_option() -> None:
    parsed = [
        job_parser().parse_args(["in", "out", *options]).restore
        for options in ([], ["--restore"], ["--restore", "full"])
    ]
    assert parsed == ["off", "colors", "full"]
