"""How the colourings of an archive are encoded."""

from dataclasses import dataclass

from colorgan.images.decoding import Photograph, Pixels
from colorgan.images.encoding import SUFFIXES, check_size, encode


@dataclass(frozen=True)
class Encoding:
    """The format of the outputs; it can be pickled.

    Attributes:
        picture_format: one of PICTURE_FORMATS.
    """

    picture_format: str

    def suffix(self, name: str) -> str:
        """The suffix of the output of a photograph of this name."""
        return SUFFIXES[self.picture_format][0]

    def check(self, photograph: Photograph) -> None:
        """Raise ImageRejected if the format cannot hold the photograph, before it is coloured."""
        check_size(self.picture_format, *photograph.rgb.shape[:2])

    def encode(self, photograph: Photograph, rgb: Pixels) -> bytes:
        """Encode a colouring.

        Args:
            photograph: the photograph, for its opacity.
            rgb: (height, width, 3) uint8 sRGB.

        Raises:
            ImageRejected: the format cannot hold it.
        """
        return encode(self.picture_format, rgb, photograph.alpha)
