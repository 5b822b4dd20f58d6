"""Joins the segments of a coloured film with everything else that the film's file holds."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av

from colorgan.errors import ColorganError, ConfigError
from colorgan.film.encoding import Encoding, add_video
from colorgan.film.plan import Plan
from colorgan.film.reading import Film, opened

if TYPE_CHECKING:
    Packet = av.Packet[av.stream.Stream]

# What a container writes itself.
_OWN = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")
_SQUARE = ("vp9", "av1")  # codecs whose films say nothing of the shape of their pixels
_OF_STREAMS = ("language", "title", "handler_name")
_PLACES = ("location", "gps")  # in the names of entries that say where a film was taken


@dataclass(frozen=True)
class Kept:
    """What a coloured film keeps of its film's file.

    Attributes:
        streams: the numbers of the streams that are copied.
        notes: sentences for the user on what is not.
        metadata: whether the descriptions, the chapters and the names of streams are kept.
        gps: whether the place where it was taken is kept, too.
    """

    streams: tuple[int, ...]
    notes: tuple[str, ...]
    metadata: bool = True
    gps: bool = False


def choose_kept(
    film: Film, container: str, encoding: Encoding, metadata: bool = True, gps: bool = False
) -> Kept:
    """Find out which streams of a film fit into a container.

    Raises:
        ConfigError: its sound does not.
    """
    streams, lost = [], []
    with opened(film.path) as source:
        for stream in source.streams:
            if stream.index == film.stream:
                continue
            if _fits(stream, film, container, encoding):
                streams.append(stream.index)
            elif stream.type == "audio":
                raise ConfigError(
                    f"the sound of {film.path} ({_codec(stream)}) does not fit into {container}, "
                    "and it is not encoded again: name the output .mkv"
                )
            else:
                lost.append(f"{stream.type} ({_codec(stream)})")
    notes = [f"{film.path}: {container} cannot hold its {', '.join(lost)}"] if lost else []
    if film.aspect != 1 and encoding.codec in _SQUARE:
        notes.append(
            f"{film.path} has pixels of {film.aspect}:1, which {encoding.codec} cannot say: name "
            "the output .mp4 or .mkv"
        )
    return Kept(tuple(streams), tuple(notes), metadata, gps)


def join(
    film: Film,
    plan: Plan,
    kept: Kept,
    read: Callable[[int], bytes],
    output: Path,
    container: str,
) -> None:
    """Write the coloured film; nothing is decoded or encoded.

    Args:
        film: the film.
        plan: its plan.
        kept: what is kept of its file.
        read: returns the content of a segment by its number, as often as it is asked.
        output: the file to write.
        container: FFmpeg's name of the container.

    Raises:
        ColorganError: FFmpeg cannot write what the film holds.
        OSError: the disk is full, ….
    """
    numbers = range(len(plan.segments))
    with (
        _faults_in_words(film, container),
        opened(film.path) as source,
        av.open(io.BytesIO(read(0)), "r") as first,
        av.open(
            str(output),
            "w",
            format=container,
            options=_options(container, source.metadata),
            metadata_errors="replace",
        ) as target,
    ):
        delay = max(_reordering(read(number)) for number in numbers)
        # The numbers of the streams stay, as players choose by them.
        streams: dict[int, av.stream.Stream] = {}
        for stream in source.streams:
            if stream.index == film.stream:
                video = target.add_stream_from_template(first.streams.video[0], opaque=True)
                video.time_base = film.time_base
                _describe(stream, video, kept)
            elif stream.index in kept.streams:
                streams[stream.index] = target.add_stream_from_template(stream, opaque=True)
                _describe(stream, streams[stream.index], kept)
        if kept.metadata:
            target.metadata.update(_metadata(source.metadata, kept))
            target.set_chapters(source.chapters())
        others = _Others(source, streams, target)
        for number in numbers:
            for packet in _timed(read(number), plan, number, delay):
                others.copy_until(float((packet.dts or 0) * film.time_base))
                packet.stream = video
                packet.time_base = film.time_base
                target.mux(packet)
        others.copy_until(float("inf"))


@contextmanager
def _faults_in_words(film: Film, container: str) -> Iterator[None]:
    """Say in words what FFmpeg cannot write; an error of the disk stays one."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise ColorganError(
            f"{film.path}: its parts cannot be joined as {container} ({error.strerror}): name the "
            "output .mkv"
        ) from None


def _options(container: str, metadata: dict[str, str]) -> dict[str, str]:
    """Options of the muxer: an index at the beginning, for players on the web, and names."""
    if container not in ("mp4", "mov"):
        return {}
    # Names such as com.apple.quicktime.model are lost otherwise, and usual ones, such as title,
    # are where most programs look for them.
    own = any("." in name for name in metadata)
    return {"movflags": "+faststart" + "+use_metadata_tags" * own}


class _Others:
    """Copies the packets of a film's other streams."""

    def __init__(
        self,
        source: av.container.InputContainer,
        streams: dict[int, av.stream.Stream],
        target: av.container.OutputContainer,
    ) -> None:
        self._streams, self._target = streams, target
        chosen = [source.streams[number] for number in streams]
        self._packets: Iterator[Packet] = source.demux(chosen) if chosen else iter(())
        self._next = self._read()

    def copy_until(self, seconds: float) -> None:
        """Copy the packets before a time."""
        while self._next is not None and _seconds(self._next) <= seconds:
            self._next.stream = self._streams[self._next.stream_index]
            self._target.mux(self._next)
            self._next = self._read()

    def _read(self) -> "Packet | None":
        for packet in self._packets:
            if packet.dts is not None or packet.pts is not None:
                return packet
        return None


def _seconds(packet: "Packet") -> float:
    time = packet.dts if packet.dts is not None else packet.pts
    return float((time or 0) * packet.time_base)


def _timed(data: bytes, plan: Plan, number: int, delay: int) -> "Iterator[Packet]":
    """The packets of a segment with the times of the film, in the order of decoding.

    Decoding times are those of the frames, `delay` frames earlier, over all segments.
    """
    segment, times = plan.segments[number], plan.times
    step = times[1] - times[0] if len(times) > 1 else plan.last
    for place, (packet, rank) in enumerate(_ranked(data)):
        shown, decoded = segment.first + rank, segment.first + place - delay
        end = times[shown + 1] if shown + 1 < len(times) else times[shown] + plan.last
        packet.pts = times[shown]
        packet.dts = times[decoded] if decoded >= 0 else times[0] + decoded * step
        packet.duration = end - times[shown]
        yield packet


def _reordering(data: bytes) -> int:
    """By how many frames the frames of a segment are decoded later than they are shown."""
    return max(place - rank for place, (_, rank) in enumerate(_ranked(data)))


def _ranked(data: bytes) -> "Sequence[tuple[Packet, int]]":
    """The packets of a segment in the order of decoding, and their places in that of showing."""
    with av.open(io.BytesIO(data), "r") as container:
        packets = [each for each in container.demux() if each.pts is not None]
    shown = {time: rank for rank, time in enumerate(sorted(each.pts or 0 for each in packets))}
    return [(packet, shown[packet.pts or 0]) for packet in packets]


def _fits(stream: av.stream.Stream, film: Film, container: str, encoding: Encoding) -> bool:
    """Whether a container takes a stream beside the video."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as target:
            add_video(target, film, encoding)
            target.add_stream_from_template(stream, opaque=True)
            target.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _describe(stream: av.stream.Stream, copy: av.stream.Stream, kept: Kept) -> None:
    copy.disposition = stream.disposition
    if kept.metadata:
        copy.metadata.update(
            {name: text for name, text in stream.metadata.items() if name in _OF_STREAMS}
        )
    elif "language" in stream.metadata:
        copy.metadata["language"] = stream.metadata["language"]


def _metadata(found: dict[str, str], kept: Kept) -> dict[str, str]:
    return {
        name: text
        for name, text in found.items()
        if name.lower() not in _OWN
        and (kept.gps or not any(word in name.lower() for word in _PLACES))
    }


def _codec(stream: av.stream.Stream) -> str:
    return stream.codec_context.name if stream.codec_context is not None else "unknown"
