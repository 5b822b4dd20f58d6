"""Pictures side by side: rows of grayscale | coloured | original."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorgan.images.decoding import Pixels

_GAP = 6
_CAPTION = 20
_PAPER = (250, 250, 248)
_INK = (40, 40, 40)


@dataclass(frozen=True)
class SheetRow:
    """A row of a contact sheet.

    Attributes:
        caption: text above the row.
        pictures: arrays (height, width, 3) uint8.
    """

    caption: str
    pictures: Sequence[Pixels]


def contact_sheet(
    headings: Sequence[str], rows: Sequence[SheetRow], height: int = 144, columns: int = 1
) -> Pixels:
    """Draw rows of pictures, all scaled to a height of `height` pixels.

    Args:
        headings: the headings of the pictures in a row.
        rows: the rows, each with as many pictures as there are headings.
        height: height of every picture, in pixels.
        columns: number of rows side by side.

    Returns:
        (height, width, 3) uint8.
    """
    font = ImageFont.load_default(13)
    scaled = [[_scale(picture, height) for picture in row.pictures] for row in rows]
    widths = [max(cells[place].width for cells in scaled) for place in range(len(headings))]
    row_width = sum(widths) + _GAP * len(widths)
    row_height = _CAPTION + height + _GAP
    down = -(-len(rows) // columns)
    sheet = Image.new(
        "RGB", (_GAP + columns * (row_width + _GAP), _CAPTION + down * row_height + _GAP), _PAPER
    )
    draw = ImageDraw.Draw(sheet)
    lefts = np.cumsum([0, *(width + _GAP for width in widths)])
    for column in range(columns):
        origin = _GAP + column * (row_width + _GAP)
        for heading, left in zip(headings, lefts, strict=False):
            draw.text((origin + int(left), 4), heading, _INK, font)
    for number, (row, cells) in enumerate(zip(rows, scaled, strict=True)):
        origin = _GAP + (number // down) * (row_width + _GAP)
        top = _CAPTION + (number % down) * row_height
        draw.text((origin, top + 3), row.caption, _INK, font)
        for cell, left in zip(cells, lefts, strict=False):
            sheet.paste(cell, (origin + int(left), top + _CAPTION))
    return np.asarray(sheet)


def _scale(picture: Pixels, height: int) -> Image.Image:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
