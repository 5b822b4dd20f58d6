"""The orientation of a photograph: how a camera was held, as EXIF states it."""

from PIL import Image

# The EXIF tag of the orientation, and the operation that turns each of its values upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """The orientation that a picture's EXIF states, 1 to 8; 1 (upright) if it states none."""
    # ImageOps.exif_transpose is not used: it also rewrites the other tags and fails on odd ones.
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF is treated as absent
        orientation = None
    return orientation if isinstance(orientation, int) else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn or mirror a picture of this orientation upright."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def is_turned(orientation: int) -> bool:
    """Whether turning a picture of this orientation upright swaps width and height."""
    return 5 <= orientation <= 8
