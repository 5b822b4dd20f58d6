"""Coloured photographs as answers: encoded, alone or several at once, with their headers."""

import io
import json
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from fastapi.responses import Response
from PIL import Image

from colorgan.errors import ImageRejected
from colorgan.images.borders import Box
from colorgan.images.decoding import Pixels, resize
from colorgan.images.encoding import check_size
from colorgan.images.metadata import Metadata, read_metadata
from colorgan.images.prints import Restored
from colorgan.images.scaling import scale
from colorgan.images.writing import Original, OutputOptions, Written, write_colored
from colorgan.inference.hints import Hint
from colorgan.inference.prediction import FoundObject, Prediction
from colorgan.web.problems import Problem
from serve.parameters import ColorizeParameters, Container, Format

_SAVED = {"Content-Disposition": 'attachment; filename="variants.zip"'}


@dataclass(frozen=True)
class Reduced:
    """A photograph at the size at which its colourings are written, with the hints for it."""

    restored: Restored
    hints: tuple[Hint, ...]

    @classmethod
    def of(cls, restored: Restored, hints: tuple[Hint, ...], side: int | None) -> "Reduced":
        """Scale a photograph down so that its longer side has at most `side` pixels."""
        photograph = restored.photograph
        height, width = photograph.rgb.shape[:2]
        longest = max(height, width)
        if side is None or longest <= side:
            return cls(restored, hints)
        new_height, new_width = (max(1, round(n * side / longest)) for n in (height, width))
        down, across = new_height / height, new_width / width
        box = restored.box
        if box is not None:
            top, left = int(box.top * down), int(box.left * across)
            bottom = max(top + 1, int(box.bottom * down))
            right = max(left + 1, int(box.right * across))
            box = Box(top, bottom, left, right)
        places = {}  # hints that fall on one pixel become one
        for hint in hints:
            x, y = int((hint.x + 0.5) * across), int((hint.y + 0.5) * down)
            if box is not None:
                x = min(max(x, box.left), box.right - 1)
                y = min(max(y, box.top), box.bottom - 1)
            places[x, y] = replace(hint, x=x, y=y)
        rgb = resize(photograph.rgb, new_height, new_width)
        alpha = photograph.alpha
        if alpha is not None:
            size = (new_width, new_height)
            alpha = np.asarray(scale(Image.fromarray(alpha), size, Image.Resampling.BICUBIC))
        small = replace(photograph, rgb=rgb, alpha=alpha, deep=None)
        return cls(replace(restored, photograph=small, box=box), tuple(places.values()))


def encoded(
    data: bytes,
    reduced: Reduced,
    picture_format: Format,
    predicted: Prediction,
    chosen: ColorizeParameters,
) -> Written:
    """Encode a coloured photograph with what the client wants to keep of its file, `data`."""
    keeps = chosen.metadata == "keep"
    options = OutputOptions(picture_format, metadata=keeps)
    metadata = read_metadata(data, chosen.page) if keeps else Metadata()
    original = Original(reduced.restored.photograph, metadata, picture_format)
    ours = predicted.onto(reduced.restored)
    coloring = partial(ours.strips, chosen.vividness, reduced.hints, None)
    return write_colored(coloring, original, options)


def fitting(formats: Sequence[Format], rgb: Pixels) -> Format:
    """The first format that supports the picture's size; raises Problem 422."""
    refused = ""
    for each in formats:
        try:
            check_size(each, *rgb.shape[:2])
        except ImageRejected as rejected:
            refused = refused or rejected.detail.partition(";")[0]
        else:
            return each
    raise Problem(422, f"format: the photograph is {refused}; png holds more")


def answer_with_variants(
    pictures: Sequence[bytes], format: Format, container: Container, headers: Mapping[str, str]
) -> Response:
    """The variants of a photograph: `variant-1.png` and so on.

    Args:
        pictures: their files.
        format: the format of these.
        container: what they are sent in. In a form, the fields are called `variant-1` and so on.
        headers: further headers.
    """
    files = {f"variant-{number}": data for number, data in enumerate(pictures, 1)}
    if container == "application/zip":
        return Response(_zip(files, format), media_type=container, headers={**headers, **_SAVED})
    boundary = secrets.token_hex(16)
    body = _form(files, format, boundary)
    return Response(body, media_type=f"{container}; boundary={boundary}", headers=dict(headers))


def _zip(files: Mapping[str, bytes], format: Format) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:  # they are compressed
        for name, data in files.items():
            written.writestr(f"{name}.{format}", data)
    return archive.getvalue()


def _form(files: Mapping[str, bytes], format: Format, boundary: str) -> bytes:
    """A body of multipart/form-data (RFC 7578)."""
    parts = []
    for name, data in files.items():
        disposition = f'form-data; name="{name}"; filename="{name}.{format}"'
        head = f"Content-Disposition: {disposition}\r\nContent-Type: image/{format}"
        parts += [f"--{boundary}\r\n{head}\r\n\r\n".encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def headers_of(predicted: Prediction, photo_class: str, by_objects: bool) -> dict[str, str]:
    """The headers on what a photograph was coloured by.

    Args:
        predicted: its colours.
        photo_class: the class that was chosen if no router was asked; may be empty.
        by_objects: whether objects were looked for.
    """
    headers = {"X-Colorgan-Model": predicted.color.model.reference}
    if predicted.route:
        headers["X-Colorgan-Class"] = predicted.route.photo_class
        headers["X-Colorgan-Score"] = f"{predicted.route.score:.4f}"
    elif photo_class:
        headers["X-Colorgan-Class"] = photo_class
    if by_objects:
        headers["X-Colorgan-Objects"] = json.dumps(described_objects(predicted.objects))
    return headers


def described_objects(objects: Sequence[FoundObject]) -> list[dict[str, Any]]:
    """Objects as JSON has them; a box is left, top, right and bottom in pixels."""
    return [
        {
            "class": each.photo_class,
            "label": each.label,
            "score": round(each.score, 4),
            "box": [each.box.left, each.box.top, each.box.right, each.box.bottom],
        }
        for each in objects
    ]
