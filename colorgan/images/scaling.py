"""Scales pictures to a given size, in memory bounded by the picture's own size."""

from PIL import Image

# Photographs are not longer, but a malicious file of a few kilobytes may be one very long line.
LONGEST = 65_536


def scale(image: Image.Image, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    """`Image.resize` for pictures of any aspect ratio.

    Pillow scales all rows before it scales columns, and holds as many filter weights as a side has
    pixels: 50 million pixels in one column would take 45 GB to become a square of 224. Sides of
    more than 65,536 pixels are therefore first reduced by an integer factor, by averaging whole
    pixels. For shorter sides, the result equals Pillow's.

    Args:
        image: a picture of any mode that Pillow can scale.
        size: width and height, in pixels.
        filter: the resampling filter.
    """
    steps = _step(image.width, size[0]), _step(image.height, size[1])
    if steps != (1, 1):
        image = image.reduce(steps)
    return image.resize(size, filter)


def _step(length: int, target: int) -> int:
    """The factor by which a side is reduced first; at least twice the target length remains."""
    return max(1, min(-(-length // LONGEST), length // (2 * target)))
