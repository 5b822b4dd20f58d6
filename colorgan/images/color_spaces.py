"""What a generator writes, by name; colorgan.images.lab says what each means."""

from typing import Literal

ColorSpace = Literal["lab", "rgb", "yuv"]
COLOR_CHANNELS: dict[ColorSpace, int] = {"lab": 2, "rgb": 3, "yuv": 2}
