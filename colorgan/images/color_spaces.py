"""The names of the colour spaces that generators write; colorgan.images.lab defines them."""

from typing import Literal

ColorSpace = Literal["lab", "rgb", "yuv"]
COLOR_CHANNELS: dict[ColorSpace, int] = {"lab": 2, "rgb": 3, "yuv": 2}
