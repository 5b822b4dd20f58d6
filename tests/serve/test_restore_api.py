"""`restore` over HTTP."""

import json

import httpx
import numpy as np
import pytest
from PIL import Image

from colorgan.images.lab import lightness
from tests.commands.test_restore import BOX, FADED, WIDTHS, is_gray
from tests.images.test_borders import framed
from tests.serve.exchange import encoded, opened, picture, problem

PRINT = framed(FADED, WIDTHS, np.uint8([250, 225, 180]))
DATA = encoded(Image.fromarray(PRINT))


def colored(client: httpx.Client, restore: str | None, data: bytes = DATA) -> np.ndarray:
    params = {} if restore is None else {"restore": restore}
    with opened(client.post("/colorize", params=params, content=data)) as image:
        return np.asarray(image)


def test_the_border_stays_gray_and_full_mends_the_lightness(client: httpx.Client) -> None:
    plain, off, mended, full = (colored(client, each) for each in (None, "off", "colors", "full"))
    np.testing.assert_array_equal(plain, off)
    assert not is_gray(plain[:10])
    assert is_gray(mended[:10]) and is_gray(full[:10]) and not is_gray(BOX.of(mended))
    own = lightness(PRINT)
    assert np.abs(lightness(mended) - own).max() < 0.02
    assert BOX.of(own).min() > 0.4 and BOX.of(lightness(full)).min() < 0.1


def test_what_was_mended_is_told_and_a_good_photograph_is_left_alone(client: httpx.Client) -> None:
    told = client.post("/colorize", params={"restore": "colors"}, content=DATA).headers
    form = client.post("/colorize", files={"file": DATA}, data={"restore": "colors"})
    for headers in (told, form.headers):
        assert headers["x-colorgan-note"] == (
            "the border of the print stays gray; faded contrast mended for the networks"
        )
    good = encoded(picture(240, 320))
    np.testing.assert_array_equal(colored(client, "colors", good), colored(client, None, good))


def test_classify_takes_it_too(client: httpx.Client) -> None:
    answers = [
        client.post("/classify", params={"restore": each}, content=DATA)
        for each in ("off", "colors", "full")
    ]
    scores = [answer.json()["scores"] for answer in answers]
    assert scores[0] != scores[1] == scores[2]
    assert "x-colorgan-note" in answers[1].headers


REFUSED = {
    "another value": ({"restore": "tones"}, "restore: Input should be 'off', 'colors' or 'full'"),
    "a hint on the border": (
        {"restore": "colors", "hints": json.dumps([{"x": 2, "y": 2, "color": "#0000ff"}])},
        "hints: the hint at 2,2 lies on the border of the print",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_restored_is_refused(client: httpx.Client, name: str) -> None:
    params, words = REFUSED[name]
    problem(client.post("/colorize", params=params, content=DATA), 422, words)
