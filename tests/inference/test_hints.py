"""Colour hints: exact at their points, spread to what is as light, and nothing elsewhere."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.color_spaces import COLOR_CHANNELS, ColorSpace
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import grayscale, prepare, recombine
from colorgan.inference.finishing import finish
from colorgan.inference.hints import MOST_HINTS, Hint, parse_hint, parse_hints, within_gamut
from colorgan.metrics import ab_l1

SIZES = [(224, 224), (700, 900), (61, 47), (300, 40), (1, 90), (5, 3000), (3, 70_000)]


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def generated(seed: int = 0, size: int = 64, channels: int = 2) -> Tensor:
    """Colours as a generator writes them: smooth, and not strong."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, 6, 6, generator=generator) * 0.4 - 0.2
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(-1, 1)


def in_print(photograph: Pixels, hint: Hint) -> np.ndarray:
    """What is promised at a hint: its a and b at the print's lightness, within the gamut."""
    light = float(lab.lightness(photograph[hint.y, hint.x]))
    a, b = within_gamut(light, hint.ab) * lab.AB_SCALE
    rgb = lab.lab_to_rgb(torch.tensor([light * 100, a, b], dtype=torch.float64)[:, None, None])
    return rgb[:, 0, 0].numpy() * 255


def lightness_and_colors(rgb: Pixels) -> np.ndarray:
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).double() / 255
    return lab.rgb_to_lab(pixels).numpy()


@pytest.mark.parametrize("space", ["lab", "yuv", "rgb"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_hints_are_exact_at_their_points_in_the_finished_photograph(
    height: int, width: int, space: ColorSpace
) -> None:
    photograph = noise(height, width)
    rng = np.random.default_rng(1)
    places = sorted({(int(rng.integers(width)), int(rng.integers(height))) for _ in range(8)})
    places.append((min(places[0][0] + 1, width - 1), places[0][1]))  # beside the first
    hints = [Hint(x, y, f"#{rng.integers(1 << 24):06x}") for x, y in dict.fromkeys(places)]
    color = generated(channels=COLOR_CHANNELS[space])
    finished = finish(photograph, color, space, 1.3, hints)
    for hint in hints:
        got = finished[hint.y, hint.x]
        np.testing.assert_allclose(got, in_print(photograph, hint), atol=1, err_msg=str(hint))


def test_a_colour_that_the_print_can_have_is_taken_as_it_is() -> None:
    true = draw_scene("animals", 3, 150, 200)
    print_ = grayscale(true)
    hints = [
        Hint(x, y, "#{:02x}{:02x}{:02x}".format(*true[y, x]))
        for x, y in itertools.product((20, 90, 170), (15, 75, 140))
    ]
    finished = finish(print_, generated(), "lab", hints=hints)
    for hint in hints:
        apart = lightness_and_colors(finished)[1:, hint.y, hint.x] - hint.ab * lab.AB_SCALE
        assert np.abs(apart).max() < 1.5  # an sRGB level is as much, where it is dark


def two_halves(left: int, right: int) -> Pixels:
    photograph = np.full((160, 240, 3), left, np.uint8)
    photograph[:, 120:] = right
    return photograph


def test_a_hint_spreads_to_what_is_as_light_and_stops_at_an_edge() -> None:
    photograph = two_halves(110, 190)
    plain = finish(photograph, torch.zeros(2, 64, 64), "lab")
    finished = finish(photograph, torch.zeros(2, 64, 64), "lab", hints=[Hint(60, 80, "#2a52be")])
    changed = np.abs(lightness_and_colors(finished) - lightness_and_colors(plain))[2]
    at_hint = changed[80, 60]
    assert at_hint > 25
    assert changed[70:90, 50:70].min() > at_hint / 2, "around the point"
    assert changed[:, 130:].max() < at_hint / 50, "beyond the edge"


def test_what_is_far_or_of_another_lightness_stays_exactly_as_it_was() -> None:
    photograph = draw_scene("vehicles", 1, 300, 400)
    photograph[:, 200:] = photograph[:, 200:] // 3 + 170  # nothing there is as dark as the hint
    photograph[:, :200] //= 3
    color = generated(1)
    plain = finish(photograph, color, "lab")
    finished = finish(photograph, color, "lab", hints=[Hint(40, 150, "#c02020")])
    assert (finished[150, 40] != plain[150, 40]).any()
    np.testing.assert_array_equal(finished[:, 240:], plain[:, 240:])


def test_what_is_far_stays_exactly_as_it_was_though_it_is_as_light() -> None:
    gray = np.random.default_rng(0).integers(100, 112, (120, 900, 1), dtype=np.uint8)
    photograph, color = gray.repeat(3, axis=2), generated()
    plain = finish(photograph, color, "lab")
    finished = finish(photograph, color, "lab", hints=[Hint(20, 60, "#2a52be")])
    assert (finished[:, :300] != plain[:, :300]).any(axis=-1).all(), "nothing stops it before"
    np.testing.assert_array_equal(finished[:, 830:], plain[:, 830:])


def test_a_hint_of_the_own_colour_changes_nothing() -> None:
    photograph, color = two_halves(100, 180), torch.full((2, 64, 64), 0.1)
    plain = finish(photograph, color, "lab")
    own = "#{:02x}{:02x}{:02x}".format(*plain[50, 60])
    finished = finish(photograph, color, "lab", hints=[Hint(60, 50, own)])
    assert np.abs(finished.astype(int) - plain).max() <= 2


def test_five_hints_of_the_true_colours_bring_a_picture_nearer_to_them() -> None:
    for seed in range(6):
        true = draw_scene(("animals", "people", "vehicles")[seed % 3], seed, 180, 240)
        rng = np.random.default_rng(seed)
        places = [(int(rng.integers(240)), int(rng.integers(180))) for _ in range(5)]
        hints = [Hint(x, y, "#{:02x}{:02x}{:02x}".format(*true[y, x])) for x, y in places]
        results = [
            finish(grayscale(true), generated(seed), "lab", hints=each) for each in ((), hints)
        ]
        units = [
            torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].float() / 255
            for each in (*results, true)
        ]
        without, with_hints = (float(ab_l1(each, units[2])) for each in units[:2])
        assert with_hints < without


def test_vividness_does_not_change_the_colour_of_a_hint() -> None:
    photograph, hints = noise(80, 90), [Hint(10, 20, "#808000"), Hint(70, 60, "#8050a0")]
    pictures = [finish(photograph, generated(), "lab", each, hints) for each in (0.0, 1.0, 2.0)]
    for hint in hints:
        for picture in pictures:
            np.testing.assert_array_equal(picture[hint.y, hint.x], pictures[0][hint.y, hint.x])


def test_of_two_hints_at_one_point_the_last_one_counts() -> None:
    photograph, color = noise(50, 60), generated()
    first, last = Hint(7, 9, "#ff0000"), Hint(7, 9, "#2040a0")
    both, alone = (finish(photograph, color, "lab", hints=each) for each in ([first, last], [last]))
    np.testing.assert_array_equal(both, alone)


def test_as_many_hints_as_are_allowed_may_stand_side_by_side() -> None:
    photograph = noise(100, 100)
    hints = [
        Hint(40 + place % 10, 40 + place // 10, f"#{place * 2:02x}40{255 - place:02x}")
        for place in range(MOST_HINTS)
    ]
    finished = finish(photograph, generated(), "lab", hints=hints)
    for hint in hints:
        np.testing.assert_allclose(
            finished[hint.y, hint.x], in_print(photograph, hint), atol=1, err_msg=str(hint)
        )


def test_strips_make_the_same_picture_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    photograph, color = noise(300, 200), generated()
    hints = [Hint(50, 149, "#2040a0"), Hint(150, 153, "#c02020"), Hint(150, 250, "#20a040")]
    whole = finish(photograph, color, "lab", hints=hints)
    monkeypatch.setattr("colorgan.inference.colorizer._STRIP_PIXELS", 200 * 10)
    np.testing.assert_array_equal(finish(photograph, color, "lab", hints=hints), whole)


def test_without_hints_and_palette_nothing_is_different() -> None:
    photograph, color = noise(70, 90), generated()
    np.testing.assert_array_equal(
        finish(photograph, color, "lab", 1.4), recombine(photograph, color, "lab", 1.4)
    )
    assert prepare(photograph, 64).shape == (3, 64, 64)


def test_a_colour_outside_of_the_gamut_keeps_its_hue_and_the_prints_lightness() -> None:
    photograph = np.full((40, 40, 3), 245, np.uint8)
    finished = finish(photograph, torch.zeros(2, 64, 64), "lab", hints=[Hint(20, 20, "#0000ff")])
    light, a, b = lightness_and_colors(finished)[:, 20, 20]
    assert light == pytest.approx(lightness_and_colors(photograph)[0, 20, 20], abs=0.7)
    wanted = Hint(20, 20, "#0000ff").ab
    assert np.hypot(a, b) > 3
    assert np.arctan2(b, a) == pytest.approx(np.arctan2(*wanted[::-1]), abs=0.2)


REFUSED = {
    "no JSON": ("[", "write a JSON array"),
    "no array": ('{"x": 1}', "write a JSON array"),
    "deep": ("[" * 100_000, "write a JSON array"),
    "a number": ("[1]", "a hint has x, y and color"),
    "one value less": ('[{"x": 1, "y": 2}]', "a hint has x, y and color"),
    "one value more": ('[{"x": 1, "y": 2, "color": "#000000", "r": 1}]', "and nothing else"),
    "negative": ('[{"x": -1, "y": 2, "color": "#000000"}]', "x of a hint is a pixel"),
    "a fraction": ('[{"x": 1, "y": 2.5, "color": "#000000"}]', "y of a hint is a pixel"),
    "a truth value": ('[{"x": true, "y": 2, "color": "#000000"}]', "x of a hint is a pixel"),
    "a name": ('[{"x": 1, "y": 2, "color": "blue"}]', "'blue' is not a colour"),
    "a short colour": ('[{"x": 1, "y": 2, "color": "#00f"}]', "'#00f' is not a colour"),
    "no text": ('[{"x": 1, "y": 2, "color": 3}]', "3 is not a colour"),
    "a line more": ('[{"x": 1, "y": 2, "color": "#000000\\n"}]', "is not a colour"),
    "too many": (
        json.dumps([{"x": each, "y": 0, "color": "#000000"} for each in range(MOST_HINTS + 1)]),
        f"{MOST_HINTS + 1} hints are more than {MOST_HINTS}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hints_that_are_none_are_refused_with_one_sentence(name: str) -> None:
    text, words = REFUSED[name]
    with pytest.raises(ConfigError, match=words) as refused:
        parse_hints(text)
    assert len(str(refused.value)) < 200


def test_hints_are_written_as_a_json_array_or_as_text() -> None:
    assert parse_hints('[{"x": 3, "y": 4, "color": "#00fF10"}]') == (Hint(3, 4, "#00fF10"),)
    assert parse_hints("") == parse_hints("[]") == ()
    assert parse_hint("3, 4,#00fF10") == Hint(3, 4, "#00fF10")
    for wrong in ("3,4", "3,4,blue", "a,4,#000000", "-3,4,#000000", "3,4,#00", "٣,4,#000000"):
        with pytest.raises(ConfigError):
            parse_hint(wrong)


@pytest.mark.parametrize("place", [(90, 10), (10, 70), (10**8, 10**8)])
def test_a_hint_outside_of_the_photograph_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"outside of the photograph, which has 90 x 70 pixels"):
        finish(noise(70, 90), generated(), "lab", hints=[Hint(*place, "#102030")])
