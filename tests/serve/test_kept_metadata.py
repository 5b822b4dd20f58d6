"""Over HTTP, a coloured photograph says nothing of its file, unless the client asks for it."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.images import annotated
from tests.images.annotated import photograph, told
from tests.serve.exchange import problem

SAYS_NOTHING = {"description": "", "caption": b"", "xmp": b"", "profile": b"", "latitude": None}


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff", "avif"])
def test_metadata_is_dropped_by_default_and_kept_on_request(
    client: httpx.Client, format: str
) -> None:
    photo = photograph("TIFF")
    for query in ({}, {"metadata": "drop"}):
        answer = client.post("/colorize", params={"format": format, **query}, content=photo)
        found = told(answer.content)
        assert {name: found[name] for name in SAYS_NOTHING} == SAYS_NOTHING
    answer = client.post("/colorize", params={"format": format, "metadata": "keep"}, content=photo)
    found = told(answer.content)
    assert (found["description"], found["title"]) == (annotated.DESCRIPTION, True)
    assert (found["dpi"], found["latitude"]) == (annotated.DPI, None)
    assert found["profile"]
    note = answer.headers.get("x-colorgan-note", "")
    assert ("IPTC" in note) == (format in ("webp", "avif"))
    problem(client.post("/colorize?metadata=all", content=photo), 422, "metadata")


def test_the_form_may_ask_for_metadata_too(client: httpx.Client) -> None:
    form = [("metadata", (None, "keep")), ("file", photograph("JPEG"))]
    answer = client.post("/colorize", files=form)
    assert told(answer.content)["date"] == annotated.DATE


def test_a_scan_of_16_bits_is_coloured_with_16(client: httpx.Client) -> None:
    scan = annotated.tiff((annotated.pixels() * 65535).astype(np.uint16), profile=b"")
    answer = client.post("/colorize?format=tiff", content=scan)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.tag_v2[258] == (16, 16, 16)  # type: ignore[attr-defined]
    answer = client.post("/colorize", content=scan, headers={"Accept": "image/png, image/tiff"})
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
