"""Films that tests draw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from colorgan.data.scenes import draw_scene
from colorgan.film.reading import frames, open_film, picture
from colorgan.images.decoding import Pixels

SAMPLES = 48_000


@dataclass(frozen=True)
class Maker:
    """How a film is made; the defaults are those of most films."""

    width: int = 64
    height: int = 48
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    times: Sequence[int] | None = None  # in 1/1000 s
    rate: Fraction = Fraction(25)
    audio: str | None = "aac"
    subtitles: bool = False
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    color_range: ColorRange = ColorRange.MPEG
    transfer: int = 2
    metadata: dict[str, str] = field(default_factory=dict)

    def make(self, path: Path, pictures: Sequence[Pixels]) -> Path:
        with av.open(str(path), "w", options=_options(path)) as container:
            container.metadata.update(self.metadata)
            video: Any = container.add_stream(self.codec, rate=self.rate)
            video.width, video.height, video.pix_fmt = self.width, self.height, self.pix_fmt
            video.codec_context.sample_aspect_ratio = self.aspect
            video.codec_context.color_range = self.color_range
            video.codec_context.color_trc = self.transfer
            if self.codec == "libx264":
                video.options = {"crf": "8", "g": "10"}
            if self.times is not None:
                video.codec_context.time_base = Fraction(1, 1000)
            if self.rotation:
                video.set_display_rotation(self.rotation)
            sound = container.add_stream(self.audio, rate=SAMPLES) if self.audio else None
            text: Any = container.add_mux_stream("subrip") if self.subtitles else None
            seconds = len(pictures) / self.rate if self.times is None else self.times[-1] / 1000
            for number, rgb in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                    format=self.pix_fmt,
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=self.color_range,
                )
                if self.times is not None:
                    frame.pts, frame.time_base = self.times[number], Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            if sound is not None:
                container.mux(_sound(sound, float(seconds)))
            if text is not None:
                packet = av.Packet(b"a caption")
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = 100
                packet.duration = 300
                container.mux(packet)
        return path


def _options(path: Path) -> dict[str, str]:
    return {"movflags": "use_metadata_tags"} if path.suffix in (".mp4", ".mov") else {}


def _sound(stream: Any, seconds: float) -> list[av.Packet]:
    packets = []
    for start in range(0, round(seconds * SAMPLES), 1024):
        tone = 0.3 * np.sin(2 * np.pi * 330 / SAMPLES * (np.arange(1024) + start))
        frame = av.AudioFrame.from_ndarray(
            np.stack([tone, tone]).astype(np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES, start, Fraction(1, SAMPLES)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def pan(
    seed: int, count: int, width: int = 64, height: int = 48, grain: float = 2.0
) -> list[Pixels]:
    """A scene that a camera pans over."""
    scene = draw_scene(("animals", "people", "vehicles")[seed % 3], seed, 2 * height, 2 * width)
    generator = np.random.default_rng(seed)
    shown = []
    for step in np.linspace(0, 1, count):
        matrix = np.array([[1.0, 0, width * 0.6 * step], [0, 1.0, height * 0.4 * step]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(scene, matrix, (width, height), flags=flags)
        noise = generator.normal(0, grain, (height, width, 1))
        shown.append(np.clip(seen + noise, 0, 255).astype(np.uint8))
    return shown


def gray(pictures: Iterable[Pixels]) -> list[Pixels]:
    return [np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, 2) for rgb in pictures]


def packets(path: Path, kind: str) -> list[tuple[bytes, Fraction, Fraction]]:
    """The packets of the first stream of a kind, with their times and durations in seconds."""
    with av.open(str(path)) as container:
        (stream,) = [each for each in container.streams if each.type == kind][:1]
        return [
            (bytes(each), each.pts * each.time_base, each.duration * each.time_base)
            for each in container.demux(stream)
            if each.pts is not None
        ]


def samples(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.concatenate([each.to_ndarray() for each in container.decode(audio=0)], axis=1)


def seen(path: Path) -> list[Pixels]:
    film = open_film(path)
    return [picture(frame, film) for frame in frames(film)]


def apart(one: Path, other: Path) -> float:
    """The greatest mean difference of two films' frames, of 255.

    It is for films that are written without loss, with quality 100. Otherwise, where one level of
    one pixel differs, the encoder decides otherwise, and small frames with grain come out up to 3
    apart. Other frames are tens apart.
    """
    pairs = zip(seen(one), seen(other), strict=True)
    return max(float(np.abs(a.astype(int) - b.astype(int)).mean()) for a, b in pairs)


def times(path: Path) -> list[float]:
    """The times of the frames in seconds."""
    film = open_film(path)
    return [film.seconds(frame.pts or 0) for frame in frames(film)]
