"""Encodes the frames of a segment."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange

from colorgan.errors import ConfigError
from colorgan.film.reading import Film
from colorgan.images.decoding import Pixels

_CONTAINER = "nut"  # keeps every time base, and takes every codec


@dataclass(frozen=True)
class Codec:
    """A codec that is written.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        worst: the constant rate factor (CRF) of --quality 0; that of 100 is 0.
        options: further options of the encoder.
    """

    encoder: str
    worst: int
    options: tuple[tuple[str, str], ...] = ()

    def crf(self, quality: int) -> int:
        """The constant rate factor of a quality from 1 to 100."""
        return round(self.worst * (100 - quality) / 100)


DEFAULT_QUALITY = 65  # CRF 18 of H.264, which few can tell from the original
DEFAULT_CODEC = "h264"
# The codecs that --format same keeps, by FFmpeg's name.
CODECS = {
    "h264": Codec("libx264", 51),
    "hevc": Codec("libx265", 51, (("x265-params", "log-level=error"),)),
    "vp9": Codec("libvpx-vp9", 63, (("row-mt", "1"), ("cpu-used", "2"))),
    "av1": Codec("libsvtav1", 63),
}
_IN_WEBM = ("vp9", "av1")
_THREADS = 4  # the number is fixed, because what an encoder writes depends on it


@dataclass(frozen=True)
class Encoding:
    """How a film is encoded; it can be pickled.

    Attributes:
        codec: the codec, a key of CODECS.
        quality: from 1 to 100.
    """

    codec: str = DEFAULT_CODEC
    quality: int = DEFAULT_QUALITY


def choose_encoding(film: Film, container: str, same: bool, quality: int | None) -> Encoding:
    """Choose the codec of a coloured film.

    Args:
        film: the film.
        container: FFmpeg's name of the container.
        same: whether the film's own codec is kept, if it is one of CODECS.
        quality: from 1 to 100; None for the default.

    Raises:
        ConfigError: the quality is out of range, or this FFmpeg lacks the encoder.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise ConfigError("--quality must lie between 1 and 100")
    codec = film.codec if same and film.codec in CODECS else DEFAULT_CODEC
    if container == "webm" and codec not in _IN_WEBM:
        codec = _IN_WEBM[0]
    encoder = CODECS[codec].encoder
    if encoder not in av.codecs_available:
        raise ConfigError(f"this FFmpeg cannot write {codec}: it has no {encoder}")
    return Encoding(codec, quality or DEFAULT_QUALITY)


def encode(pictures: Iterable[tuple[int, Pixels]], film: Film, encoding: Encoding) -> bytes:
    """Encode frames as a film in the container NUT.

    Chroma has half the size in each direction, as players expect. So a frame of an odd width or
    height is one pixel larger: its last column or row is repeated.

    Args:
        pictures: the time of each frame in the film's time base, and its pixels, (height, width,
            3) uint8 sRGB.
        film: the film that they belong to, whose matrix, range and aspect are kept.
        encoding: how they are encoded.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=_CONTAINER) as container:
        stream = add_video(container, film, encoding)
        for time, rgb in pictures:
            container.mux(stream.encode(_frame(rgb, time, film)))
        container.mux(stream.encode(None))
    return file.getvalue()


def add_video(
    container: av.container.OutputContainer, film: Film, encoding: Encoding
) -> av.VideoStream:
    """Add a stream for the frames of a film to a container."""
    codec = CODECS[encoding.codec]
    options = {"crf": str(codec.crf(encoding.quality)), **dict(codec.options)}
    rate = film.rate.limit_denominator(1 << 16)
    stream = container.add_stream(codec.encoder, rate=rate, options=options)
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height = film.width + film.width % 2, film.height + film.height % 2
    context.pix_fmt = "yuv420p"
    context.time_base = film.time_base
    context.sample_aspect_ratio = film.aspect.limit_denominator(1 << 15)
    context.colorspace, context.color_range = film.matrix, film.color_range
    context.color_primaries, context.color_trc = film.primaries, film.transfer
    context.thread_count = _THREADS
    context.flags |= Flags.global_header
    stream.time_base = film.time_base
    return stream


def _frame(rgb: Pixels, time: int, film: Film) -> av.VideoFrame:
    height, width = rgb.shape[:2]
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=film.sws_matrix,
        src_color_range=ColorRange.JPEG,
        dst_color_range=film.color_range,
        interpolation="BICUBIC",
    )
    frame.pts, frame.time_base = time, Fraction(film.time_base)
    return frame
