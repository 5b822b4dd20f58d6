"""Reads the frames of films."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from colorgan.errors import ColorganError
from colorgan.images.decoding import Pixels

# Code points of ITU-T H.273, as FFmpeg uses them.
_BT709, _BT470BG, _SMPTE170M, _BT2020 = 1, 5, 6, 9
_UNSPECIFIED = 2
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics
_HD_LINES = 720  # films of so many lines use the matrix of BT.709 if they name none

# AVI and streams of some cameras lack times of their frames, which FFmpeg then derives.
_OPTIONS = {"fflags": "+genpts"}


class FilmRejected(ColorganError):  # noqa: N818 - the name states the condition
    """A film that cannot be coloured; the message names the file and the way out."""


@dataclass(frozen=True)
class Film:
    """What a film's file says; it can be pickled.

    Attributes:
        path: the file.
        stream: the number of the stream that is coloured.
        codec: the codec of that stream, as FFmpeg names it.
        width: width of the upright frames in pixels.
        height: height of the upright frames in pixels.
        rotation: degrees by which the stored frames are turned counterclockwise to be upright.
        time_base: the unit of the frames' times in seconds.
        rate: mean number of frames a second.
        frames: about the number of frames, as the file says it; 0 if it does not.
        aspect: the width of an upright pixel divided by its height.
        full_range: whether luma has all levels from 0 to 255, instead of those from 16 to 235.
        matrix: the matrix of luma and chroma, a code point of H.273.
        primaries: the primaries, a code point of H.273.
        transfer: the transfer characteristics, a code point of H.273.
        notes: sentences for the user on what is not kept.
    """

    path: str
    stream: int
    codec: str
    width: int
    height: int
    rotation: int
    time_base: Fraction
    rate: Fraction
    frames: int
    aspect: Fraction
    full_range: bool
    matrix: int
    primaries: int
    transfer: int
    notes: tuple[str, ...] = ()

    @property
    def sws_matrix(self) -> Colorspace:
        """The matrix as FFmpeg's scaler names it."""
        if self.matrix == _BT709:
            return Colorspace.ITU709
        return Colorspace.BT2020 if self.matrix == _BT2020 else Colorspace.ITU601

    @property
    def color_range(self) -> ColorRange:
        """The range of luma as FFmpeg names it."""
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG

    def seconds(self, time: int) -> float:
        """A frame's time in seconds."""
        return float(time * self.time_base)


def open_film(path: Path | str) -> Film:
    """Read what a film's file says, and its first frame.

    Raises:
        FilmRejected: the file cannot be read, has no video, or is HDR.
    """
    with opened(path) as container:
        pictures = [each for each in container.streams.video if not _is_cover(each)]
        if not pictures:
            raise FilmRejected(f"{path} has no video stream that could be coloured")
        known = [each for each in pictures if each.codec_context is not None]
        if not known:
            raise FilmRejected(f"{path} has a video codec that FFmpeg cannot decode")
        stream = max(known, key=lambda each: (int(each.disposition) & 1, each.width))
        frame = next(_decoded(container, stream), None)
        if frame is None:
            raise FilmRejected(f"{path} has no frame that can be decoded: the file is damaged")
        return _described(str(path), stream, frame)


@contextmanager
def opened(path: Path | str) -> Iterator[av.container.InputContainer]:
    """Open a film; raises FilmRejected with a sentence instead of FFmpeg's error."""
    try:
        container = av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        raise FilmRejected(f"{path} cannot be read as a film: {_words(error)}") from None
    with container:
        yield container


def frames(film: Film, start: int | None = None) -> Iterator[av.VideoFrame]:
    """Decode a film's frames in the order of their times, which strictly increase.

    Packets that are damaged are left out.

    Args:
        film: the film.
        start: a time; the first frame is then at most a few seconds before it, if the file can be
            searched.

    Raises:
        FilmRejected: the file cannot be read.
    """
    with opened(film.path) as container:
        stream = container.streams[film.stream]
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "AUTO"
        if start is not None:
            container.seek(start, stream=stream)
        yield from _decoded(container, stream)


def frames_at(film: Film, times: Sequence[int]) -> Iterator[av.VideoFrame]:
    """Decode the frames of given times, which follow each other in the film.

    Raises:
        FilmRejected: one of them cannot be found.
    """
    for start in (times[0], None):
        found = frames(film, start)
        frame = next(found, None)
        if frame is None or (start is not None and (frame.pts or 0) > times[0]):
            found.close()  # type: ignore[attr-defined] # a generator
            continue
        left = iter(times)
        wanted: int | None = next(left)
        while frame is not None and wanted is not None:
            if frame.pts == wanted:
                yield frame
                wanted = next(left, None)
            elif frame.pts is not None and frame.pts > wanted:
                break
            if wanted is not None:
                frame = next(found, None)
        if wanted is None:
            return
        raise FilmRejected(
            f"{film.path}: the frame at {film.seconds(wanted):.3f} s cannot be read a second time"
        )
    raise FilmRejected(f"{film.path} cannot be read a second time")


def picture(frame: av.VideoFrame, film: Film) -> Pixels:
    """The upright picture of a frame: (height, width, 3) uint8 sRGB."""
    turned = film.rotation in (90, 270)
    width, height = (film.height, film.width) if turned else (film.width, film.height)
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=film.sws_matrix,
        src_color_range=_range(frame),
        dst_color_range=ColorRange.JPEG,
        interpolation="BICUBIC",
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, film.rotation // 90), dtype=np.uint8)


def thumbnail(frame: av.VideoFrame, side: int) -> Pixels:
    """A frame's luma as a square of `side` pixels, not turned: (side, side) uint8."""
    small = frame.reformat(width=side, height=side, format="gray", interpolation="AREA")
    return np.asarray(small.to_ndarray(), dtype=np.uint8)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    last: int | None = None
    for packet in _packets(container, stream):
        try:
            some = packet.decode()
        except av.InvalidDataError:  # the packet is damaged
            continue
        except av.EOFError:
            return
        for frame in some:
            time = frame.pts if frame.pts is not None else frame.dts
            if time is not None and (last is None or time > last):
                frame.pts = last = time
                yield frame


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator["av.Packet[av.VideoStream]"]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.InvalidDataError:  # the rest of the file is damaged
            return
        except av.FFmpegError as error:
            raise FilmRejected(f"{container.name} cannot be read: {_words(error)}") from None
        if packet is None:
            return
        yield packet


def _described(path: str, stream: av.VideoStream, frame: av.VideoFrame) -> Film:
    transfer = int(frame.color_trc)
    if transfer in _HDR:
        raise FilmRejected(
            f"{path} is HDR ({_HDR[transfer]}), which colorgan does not write: convert it to "
            "standard dynamic range first, as FFmpeg's filter tonemap does"
        )
    rotation = frame.rotation % 360
    if rotation % 90:
        raise FilmRejected(f"{path} is turned by {rotation} degrees: save it upright")
    width, height = frame.width, frame.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect if aspect else Fraction(1)
    time_base = stream.time_base or frame.time_base
    assert time_base is not None
    matrix = int(frame.colorspace)
    if matrix not in (_BT709, _BT470BG, _SMPTE170M, _BT2020):
        matrix = _BT709 if frame.height >= _HD_LINES else _SMPTE170M
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    depth = max(component.bits for component in frame.format.components)
    return Film(
        path=path,
        stream=stream.index,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        rotation=rotation,
        time_base=time_base,
        rate=rate,
        frames=stream.frames or _estimate(stream, rate),
        aspect=aspect or Fraction(1),
        full_range=frame.format.name.startswith("yuv") and _range(frame) == ColorRange.JPEG,
        matrix=matrix,
        primaries=_known(int(frame.color_primaries), matrix),
        transfer=_known(transfer, matrix),
        notes=tuple(_notes(path, frame, depth)),
    )


def _estimate(stream: av.VideoStream, rate: Fraction) -> int:
    """The number of frames by the duration of a film, where its file does not count them."""
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    whole = stream.container.duration  # type: ignore[attr-defined] # of an input
    return round(whole * rate / 1_000_000) if whole else 0


def _range(frame: av.VideoFrame) -> ColorRange:
    """The range of a frame's levels; that of its format where the file names none."""
    name = frame.format.name
    if frame.format.is_rgb:
        return ColorRange.JPEG
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return ColorRange(frame.color_range)
    return ColorRange.JPEG if name.startswith(("gray", "yuvj", "mono")) else ColorRange.MPEG


def _known(code: int, matrix: int) -> int:
    """A code point, or the one that belongs to the matrix where the film names none."""
    return code if code not in (0, _UNSPECIFIED) else min(matrix, _SMPTE170M)


def _notes(path: str, frame: av.VideoFrame, depth: int) -> Iterator[str]:
    if depth > 8:
        yield f"{path} has {depth} bits a channel; the coloured film has 8"
    if frame.interlaced_frame:
        yield (
            f"{path} is interlaced; its fields are coloured together and the coloured film is "
            "progressive: a deinterlaced film looks better"
        )


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _words(error: av.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()
