"""What `colorgan colorize` and `colorgan.load` make of hints, a reference and a render size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import colorgan
from colorgan.data.dataset import Dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.images.lab import lightness
from colorgan.inference.colorizer import grayscale
from colorgan.inference.hints import Hint
from tests.commands.test_outputs import animals as animals
from tests.commands.test_outputs import colorize
from tests.inference.test_hints import in_print
from tests.packages.test_packages import publish_animals


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "old.png"
    Image.fromarray(grayscale(draw_scene("people", 4, 90, 120))).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


HINTS = (Hint(30, 40, "#2a52be"), Hint(100, 70, "#c04020"))
GIVEN = [word for each in HINTS for word in ("--hint", f"{each.x},{each.y},{each.color}")]


def test_hints_of_the_command_line_are_exact_at_their_points(animals: str, photo: Path) -> None:
    out = photo.with_name("new.png")
    assert colorize(animals, photo, "-o", out, *GIVEN, "--vividness", "1.5") == 0
    for hint in HINTS:
        np.testing.assert_allclose(
            pixels(out)[hint.y, hint.x], in_print(pixels(photo), hint), atol=1
        )


def test_a_reference_changes_the_colours_and_not_the_lightness(animals: str, photo: Path) -> None:
    reference = photo.with_name("warm.png")
    Image.fromarray(np.tile(np.uint8([[[90, 40, 20], [250, 180, 120]]]), (30, 30, 1))).save(
        reference
    )
    plain, like = photo.with_name("plain.png"), photo.with_name("like.png")
    assert colorize(animals, photo, "-o", plain) == 0
    assert colorize(animals, photo, "-o", like, "--like", reference) == 0
    red, _, blue = pixels(like).reshape(-1, 3).astype(float).mean(axis=0)
    plain_red, _, plain_blue = pixels(plain).reshape(-1, 3).astype(float).mean(axis=0)
    assert red - blue > plain_red - plain_blue + 10
    assert np.abs(lightness(pixels(like)) - lightness(pixels(photo))).mean() < 0.01


def test_a_larger_render_size_gives_other_colours(animals: str, photo: Path) -> None:
    pictures = []
    for size in ((), ("--render-size", "32"), ("--render-size", "64")):
        out = photo.with_name(f"{len(pictures)}.png")
        assert colorize(animals, photo, "-o", out, *size) == 0
        pictures.append(pixels(out))
    np.testing.assert_array_equal(pictures[0], pictures[1])  # the own size of this model
    assert (pictures[0] != pictures[2]).any()


REFUSED = {
    "no hint": (("--hint", "blue"), "--hint: 'blue' is not a hint: write x,y,#rrggbb"),
    "a short colour": (("--hint", "1,2,#00f"), "--hint: '#00f' is not a colour"),
    "outside": (
        ("--hint", "1,2,#0000ff", "--hint", "120,2,#0000ff"),
        "the hint at 120,2 lies outside of the photograph, which has 120 x 90 pixels",
    ),
    "too many": (("--hint", "1,2,#0000ff") * 101, "--hint: 101 hints are more than 100"),
    "no reference": (("--like", "nowhere.png"), "--like nowhere.png: No such file"),
    "a gray reference": (("--like", "old.png"), "--like old.png: the reference photograph has no"),
    "no picture": (("--like", "words.txt"), "--like words.txt: not an image"),
    "a folder": (("--like", "."), "--like .: Is a directory"),
    "a size": (("--render-size", "100"), "render size 100 does not fit the model: choose"),
    "no size": (("--render-size", "0"), "render size 0 does not fit the model: choose"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_chosen_is_one_sentence_and_2(
    animals: str,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("words.txt").write_text("no picture")
    options, words = REFUSED[name]
    assert colorize(animals, "old.png", "-o", "new.png", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
    assert not Path("new.png").exists()


def test_hints_are_for_one_photograph(
    animals: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = photo.with_name("other.png")
    other.write_bytes(photo.read_bytes())
    assert colorize(animals, photo, other, "-o", photo.with_name("out"), *GIVEN) == 2
    assert "--hint is a point of one photograph, and 2 are given" in capsys.readouterr().err


def test_a_program_gives_hints_a_reference_and_a_size(scenes: Dataset, photo: Path) -> None:
    publish_animals(scenes)
    color = colorgan.load(scenes.storage.uri, models="animals", device="cpu", render_size=64)
    gray = pixels(photo)
    hints = [HINTS[0], (100, 70, "#c04020")]
    colored = color(gray, hints=hints, like=draw_scene("animals", 1, 50, 60))
    for hint in HINTS:
        np.testing.assert_allclose(colored[hint.y, hint.x], in_print(gray, hint), atol=1)
    np.testing.assert_array_equal(
        color(gray, like=Image.fromarray(draw_scene("animals", 1, 50, 60))),
        color(gray, like=draw_scene("animals", 1, 50, 60)),
    )
    with pytest.raises(ConfigError, match="outside of the photograph"):
        color(gray, hints=[(120, 0, "#000000")])
    with pytest.raises(ConfigError, match="is not a colour"):
        color(gray, hints=[(1, 0, "blue")])
    with pytest.raises(ConfigError, match="no colours to take over"):
        color(gray, like=photo)
    with pytest.raises(ConfigError, match="render size 65"):
        colorgan.load(scenes.storage.uri, models="animals", device="cpu", render_size=65)
