"""Scaling pictures to a given size, in memory that the picture's own size bounds."""

from PIL import Image

# No photograph is longer; what is can be a file of some kilobytes that is all one line.
LONGEST = 65_536


def scale(image: Image.Image, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    """`Image.resize`, for pictures of any proportions.

    Pillow scales all rows before it scales columns, and holds as many filter weights as a side has
    pixels: 50 million pixels in one column would take 45 GB on their way to a square of 224. Sides
    of more than 65,536 pixels are therefore first shortened by an integer factor, as means of
    whole pixels. Up to there the result is Pillow's own.

    Args:
        image: of any mode that Pillow scales.
        size: width and height, in pixels.
        filter: how it is scaled.
    """
    steps = _step(image.width, size[0]), _step(image.height, size[1])
    if steps != (1, 1):
        image = image.reduce(steps)
    return image.resize(size, filter)


def _step(length: int, target: int) -> int:
    """How many pixels become one before they are scaled; twice as many as are wanted stay."""
    return max(1, min(-(-length // LONGEST), length // (2 * target)))
