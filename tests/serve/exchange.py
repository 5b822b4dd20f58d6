"""What the tests of the HTTP API send, and what they check of every answer."""

import io
from typing import Any

import httpx
from PIL import Image

from colorgan.data.scenes import draw_scene


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(height: int = 60, width: int = 80, seed: int = 0) -> Image.Image:
    return Image.fromarray(draw_scene("animals", seed, height, width))


def opened(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def problem(response: httpx.Response, status: int, words: str) -> None:
    """Check that an answer is a problem document whose detail has these words."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert words in document["detail"]
    assert "Traceback" not in response.text
