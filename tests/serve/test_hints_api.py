"""Hints over HTTP: as JSON in the query or in the form."""

import json

import httpx
import numpy as np
import pytest

from colorgan.inference.hints import MOST_HINTS, Hint
from tests.inference.test_hints import in_print
from tests.serve.exchange import encoded, opened, picture, problem

PHOTO = encoded(picture(90, 120))
HINTS = [
    {"x": 10, "y": 20, "color": "#2a52be"},
    {"x": 110, "y": 70, "color": "#C04020"},
]


def test_hints_in_the_query_and_in_the_form_are_exact_at_their_points(
    client: httpx.Client,
) -> None:
    text = json.dumps(HINTS)
    plain = client.post("/colorize", content=PHOTO)
    query = client.post("/colorize", params={"hints": text}, content=PHOTO)
    form = client.post("/colorize", files={"file": PHOTO}, data={"hints": text})
    assert query.content == form.content != plain.content
    with opened(query) as colored:
        pixels = np.asarray(colored)
    print_ = np.asarray(picture(90, 120))
    for each in HINTS:
        hint = Hint(**each)  # type: ignore[arg-type]
        np.testing.assert_allclose(pixels[hint.y, hint.x], in_print(print_, hint), atol=1)
    for none in ("", "[]"):
        again = client.post("/colorize", params={"hints": none}, content=PHOTO)
        assert again.content == plain.content, "without hints all is as before"


REFUSED = {
    "no JSON": ("blue", "hints: write a JSON array, as [{"),
    "outside": (
        '[{"x": 120, "y": 1, "color": "#000000"}]',
        "hints: the hint at 120,1 lies outside",
    ),
    "no colour": ('[{"x": 1, "y": 1, "color": "blue"}]', "hints: 'blue' is not a colour"),
    "no point": ('[{"color": "#000000"}]', "hints: a hint has x, y and color"),
    "too many": (
        json.dumps([{"x": 0, "y": 0, "color": "#000000"}] * (MOST_HINTS + 1)),
        "hints: 101 hints are more than 100",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hints_that_cannot_be_used_are_refused(client: httpx.Client, name: str) -> None:
    text, words = REFUSED[name]
    problem(client.post("/colorize", files={"file": PHOTO}, data={"hints": text}), 422, words)


def test_as_many_hints_as_are_allowed_fit_into_the_form(client: httpx.Client) -> None:
    many = [{"x": each, "y": 89, "color": f"#{each:02x}4020"} for each in range(MOST_HINTS)]
    text = json.dumps(many, indent=1)
    opened(client.post("/colorize", files={"file": PHOTO}, data={"hints": text})).close()
