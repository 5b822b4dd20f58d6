"""Films: the flicker of colours that are carried along, against frame-by-frame colouring.

    python -m benchmarks.film --photos FOLDER [--quick | --full] [--json FILE]

A colour film of 10 s is made from photographs: four of them one after the other, with hard cuts,
each seen by a camera that pans and zooms, with the grain of a film and a synthesised sound. Both
ways colour it with the models that come with colorgan, from reading the file to writing the other
one, and the finished films are decoded and compared:

- `flicker` is the mean absolute change of a and b of CIE Lab along the motion of the film itself;
  see `colorgan.film.flicker`. The ratio is that to frame-by-frame colouring: 0.33 is a third.
- `L1` is the mean absolute difference in a and b from the film's true colours.
- `colourful` is the colourfulness relative to that of the film's true colours.
- `sound` says whether the packets of the sound and their times are the film's own.
"""

import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from benchmarks.face import Settings, main_of, note
from benchmarks.measure import Result, Spread, Unavailable
from benchmarks.photographs import photographs
from colorgan.archives.networks import ModelChoice, choose_models
from colorgan.film.kinds import require_extra
from colorgan.images.decoding import Pixels, decode
from colorgan.metrics import ab_l1, colorfulness
from colorgan.packages.embedded import EMBEDDED_MODELS
from colorgan.temporary import temporary_folder

NAME = "film"
REFERENCE = "frame by frame"
ITSELF = "the film itself"

WIDTH, HEIGHT, RATE = 384, 288, 25
_SCENES = 4
_GRAIN = 3.0  # standard deviation of the noise, in levels of 255
_SAMPLES = 44_100  # of the sound, a second
_COMPARED_EVERY = 5  # frames, for L1 and the colourfulness


@dataclass(frozen=True)
class Measured:
    """What is measured of a coloured film; see the module.

    Attributes:
        flicker: in Lab units.
        l1: in Lab units.
        colorfulness: 1 is that of the film's true colours.
    """

    flicker: float
    l1: float
    colorfulness: float


def run(settings: Settings) -> list[Result]:
    """Make a film, colour it in both ways and compare."""
    require_extra()
    seconds = settings.pick(0.8, 10.0, 40.0)
    scenes = round(_SCENES * settings.pick(0.5, 1, 4))
    pictures = [decode(data).rgb for data in _spread(settings, scenes)]
    with temporary_folder("film") as folder:
        film = folder / "film.mp4"
        make_film(film, pictures, seconds)
        return _compare(film, settings, f"{seconds:g} s, {scenes} scenes, {WIDTH} x {HEIGHT}")


def _spread(settings: Settings, count: int) -> Sequence[bytes]:
    """Photographs from all over the folder, which may be sorted by class."""
    if settings.photos is None:
        return photographs(settings, 4 * count)[::4]  # four views of each drawn scene
    most = sum(path.is_file() for path in settings.photos.rglob("*"))
    found = photographs(settings, max(count, most - most % count)) if most >= count else []
    if not found:
        raise Unavailable(f"{settings.photos} holds {most} photographs of {count}")
    return found[len(found) // count // 2 :: len(found) // count][:count]


def make_film(path: Path, pictures: Sequence[Pixels], seconds: float) -> None:
    """Write a film in colour, with sound.

    Args:
        path: the file, whose suffix decides the container.
        pictures: a photograph a scene, (height, width, 3) uint8 each.
        seconds: the duration of the film.
    """
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=_SAMPLES)
        for rgb in _frames(pictures, round(seconds * RATE)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode(None))
        for start in range(0, round(seconds * _SAMPLES), 1024):
            times = (np.arange(1024) + start) / _SAMPLES
            tone = 0.3 * np.sin(2 * np.pi * (220 + 40 * np.sin(times)) * times)
            frame = av.AudioFrame.from_ndarray(
                np.stack([tone, tone]).astype(np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts = _SAMPLES, start
            frame.time_base = Fraction(1, _SAMPLES)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def _frames(pictures: Sequence[Pixels], count: int) -> Iterator[Pixels]:
    """The frames of a film that pans and zooms over one photograph after the other."""
    generator = np.random.default_rng(0)
    for number, rgb in enumerate(pictures):
        first, end = (count * n // len(pictures) for n in (number, number + 1))
        begin, finish = (_view(rgb, generator, zoom) for zoom in ((1.0, 1.1), (1.25, 1.4)))
        if number % 2:
            begin, finish = finish, begin
        for step in np.linspace(0, 1, end - first):
            seen = _crop(rgb, begin + (finish - begin) * step)
            grain = generator.normal(0, _GRAIN, seen.shape[:2])[..., None]
            yield np.clip(seen + grain, 0, 255).round().astype(np.uint8)


def _view(
    rgb: Pixels, generator: np.random.Generator, zooms: tuple[float, float]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A part of a photograph with the film's proportions: its left, top and width in pixels."""
    height, width = rgb.shape[:2]
    across = min(width, height * WIDTH / HEIGHT) / generator.uniform(*zooms)
    left = generator.uniform(0, width - across)
    return np.array([left, generator.uniform(0, height - across * HEIGHT / WIDTH), across])


def _crop(
    rgb: Pixels, view: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    import cv2

    left, top, across = view
    scale = across / WIDTH
    matrix = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
    blurred = cv2.GaussianBlur(rgb, (0, 0), max(scale / 2, 0.1)) if scale > 1 else rgb
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(
            blurred, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE
        ),
        dtype=np.float64,
    )


def _compare(path: Path, settings: Settings, case: str) -> list[Result]:
    from colorgan.film.encoding import choose_encoding
    from colorgan.film.joining import choose_kept
    from colorgan.film.painting import Painter
    from colorgan.film.reading import open_film
    from colorgan.film.segments import FilmSettings
    from colorgan.film.work import Parts, Work, color_film, identify

    chosen = choose_models(ModelChoice(EMBEDDED_MODELS), None)
    painter = Painter.load(chosen, torch.device(settings.device_type))
    film = open_film(path)
    encoding = choose_encoding(film, "mp4", False, None)
    usual = FilmSettings(encoding, threads=max(1, torch.get_num_threads()))
    kept = choose_kept(film, "mp4", encoding)
    outputs, speeds, cuts = {}, {}, set()
    for name, smoothed in ((REFERENCE, False), ("colorgan", True)):
        note(f"  {name}")
        outputs[name] = path.with_name(f"{name.replace(' ', '-')}.mp4")
        own = replace(usual, smoothed=smoothed)
        work = Work(film, outputs[name], "mp4", kept, own)
        began, used = time.perf_counter(), time.process_time()
        plan = color_film(work, Parts(work.output, identify(film, chosen, own)), lambda: painter)
        count = len(plan.times)
        speeds[name] = {
            "frames a second": count / (time.perf_counter() - began),
            "ms of CPU a frame": 1000 * (time.process_time() - used) / count,
        }
        cuts = {each.first for each in plan.segments if each.before == each.first}
    measured = measure(path, outputs, cuts)
    reference = measured[REFERENCE].flicker
    rows = []
    for name, output in outputs.items():
        ratio = measured[name].flicker / reference
        rows.append(
            Result(
                NAME,
                case,
                name,
                measured[name].flicker,
                "flicker",
                None if name == REFERENCE else Spread(ratio, ratio, ratio),
                facts={
                    "L1": measured[name].l1,
                    "colourful": measured[name].colorfulness,
                    **speeds[name],
                    "scenes": str(len(cuts)),
                    "sound": "identical" if sound(output) == sound(path) else "CHANGED",
                },
            )
        )
    itself = measured[ITSELF].flicker
    return [*rows, Result(NAME, case, ITSELF, itself, "flicker", None)]


def measure(path: Path, outputs: Mapping[str, Path], cuts: Collection[int]) -> dict[str, Measured]:
    """Compare coloured films with the film in its true colours, itself among them.

    Args:
        path: the film.
        outputs: the coloured films by name.
        cuts: the frames that begin a scene.
    """
    from colorgan.film.flicker import Flicker
    from colorgan.film.reading import frames, open_film, picture

    files = {ITSELF: path, **outputs}
    films = {name: open_film(file) for name, file in files.items()}
    flicker = Flicker()
    distances: dict[str, list[float]] = {name: [] for name in files}
    colors: dict[str, list[float]] = {name: [] for name in files}
    for number, row in enumerate(zip(*(frames(film) for film in films.values()), strict=True)):
        seen = {
            name: picture(frame, film)
            for (name, film), frame in zip(films.items(), row, strict=True)
        }
        flicker.add(seen[ITSELF], seen, number in cuts)
        if number % _COMPARED_EVERY == 0:
            units = {name: _unit(rgb) for name, rgb in seen.items()}
            for name, unit in units.items():
                distances[name].append(float(ab_l1(unit, units[ITSELF])))
                colors[name].append(float(colorfulness(unit)[0]))
    values, own = flicker.values(), fmean(colors[ITSELF])
    return {
        name: Measured(values[name], fmean(distances[name]), fmean(colors[name]) / own)
        for name in files
    }


def sound(path: Path) -> list[tuple[bytes, Fraction, Fraction]]:
    """The packets of a film's sound, with their times and durations in seconds."""
    import av

    with av.open(str(path)) as container:
        return [
            (
                bytes(packet),
                packet.pts * packet.time_base,
                (packet.duration or 0) * packet.time_base,
            )
            for packet in container.demux(audio=0)
            if packet.pts is not None
        ]


def _unit(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
