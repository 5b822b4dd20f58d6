"""`colorgan colorize` on films."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange

from colorgan.archives.networks import ModelChoice, choose_models
from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Held
from colorgan.film.encoding import choose_encoding
from colorgan.film.joining import choose_kept
from colorgan.film.kinds import find_films, is_film
from colorgan.film.painting import Painter
from colorgan.film.reading import open_film
from colorgan.film.segments import FilmSettings
from colorgan.film.temporal import AROUND
from colorgan.film.work import PARTS, Parts, Progress, Work, color_film, identify
from colorgan.images import lab
from colorgan.inference.router import Route
from tests.conftest import CHECKOUT
from tests.film.films import Maker, apart, gray, packets, pan, samples, seen, times
from tests.packages.test_packages import publish_animals
from tests.test_cli import photograph
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def animals(scenes: Dataset) -> str:
    """A storage with a tiny model of animals."""
    publish_animals(scenes)
    return scenes.storage.uri


def colorize(storage: str, *arguments: object) -> int:
    return main(["colorize", "--storage", storage, "--model", "animals", *map(str, arguments)])


def two_scenes(count: int = 8) -> list[np.ndarray]:
    return gray(pan(0, count) + pan(1, count))


def lightness(path: Path) -> np.ndarray:
    return np.stack([lab.lightness(rgb) for rgb in seen(path)]) * 100


def chroma(path: Path) -> float:
    return float(np.mean([np.ptp(rgb.astype(float), axis=-1).mean() for rgb in seen(path)]))


@pytest.mark.parametrize(
    ("name", "output", "maker"),
    [
        ("film.mp4", "out.mp4", Maker(metadata={"title": "Rain", "date": "1911"})),
        ("film.mkv", "out.mkv", Maker(audio="flac", subtitles=True, metadata={"title": "Rain"})),
        ("film.mov", "out.mov", Maker(audio="pcm_s16le", metadata={"title": "Rain"})),
        ("film.webm", "out.webm", Maker(codec="libvpx-vp9", audio="libopus")),
        ("film.avi", "out.mkv", Maker(codec="mpeg4", audio="mp3")),
        ("film.mp4", "silent.mp4", Maker(audio=None)),
    ],
)
def test_a_film_is_coloured_with_its_sound_times_and_lightness(
    animals: str,
    tmp_path: Path,
    name: str,
    output: str,
    maker: Maker,
    capsys: pytest.CaptureFixture[str],
) -> None:
    film, out = maker.make(tmp_path / name, two_scenes()), tmp_path / output
    assert colorize(animals, film, "-o", out, "--quality", 95) == 0
    assert "16 frames in 2 scenes, 100 % by animals@" in capsys.readouterr().out
    assert times(out) == pytest.approx(times(film), abs=0.0006)
    assert np.abs(lightness(out) - lightness(film)).mean() < 1.0
    assert chroma(film) < 2 < chroma(out)
    if maker.audio:
        assert packets(out, "audio") == packets(film, "audio")
        assert np.array_equal(samples(out), samples(film))
    if maker.subtitles:
        assert packets(out, "subtitle") == packets(film, "subtitle")
    with av.open(str(film)) as before, av.open(str(out)) as after:
        for entry in maker.metadata:
            assert (
                after.metadata[entry.upper() if entry not in after.metadata else entry]
                == (before.metadata[entry.upper() if entry not in before.metadata else entry])
            )
    assert [path.name for path in tmp_path.iterdir() if PARTS in path.name] == []


def test_what_describes_the_picture_stays(animals: str, tmp_path: Path) -> None:
    """Times that vary, pixels that are not square, full range, and an odd size."""
    shown = [0, 40, 120, 130, 400, 440, 480, 900, 940, 980]
    maker = Maker(
        *(67, 49, "libx264", "yuv444p", shown),
        aspect=Fraction(8, 9),
        color_range=ColorRange.JPEG,
    )
    pictures = gray(pan(0, 10, 67, 49))
    film, out = maker.make(tmp_path / "film.mkv", pictures), tmp_path / "out.mp4"
    assert colorize(animals, film, "-o", out, "--quality", "90") == 0
    assert [round(1000 * time) for time in times(out)] == shown
    found = open_film(out)
    assert (found.width, found.height, found.aspect) == (68, 50, Fraction(8, 9))
    assert found.full_range and found.codec == "h264"
    inside = np.stack(seen(out))[:, :49, :67]
    assert np.abs(inside.mean(axis=-1) - np.stack(seen(film)).mean(axis=-1)).mean() < 8
    # Matroska rounds times to milliseconds, so their differences are others in MP4.
    assert [each[0] for each in packets(out, "audio")] == [
        each[0] for each in packets(film, "audio")
    ]
    assert np.array_equal(samples(out), samples(film))


def test_a_turned_film_is_coloured_upright(animals: str, tmp_path: Path) -> None:
    film = Maker(rotation=90).make(tmp_path / "film.mp4", two_scenes(4))
    out = tmp_path / "out.mp4"
    assert colorize(animals, film, "-o", out, "--quality", 95) == 0
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)
    assert np.abs(lightness(out) - lightness(film)).mean() < 1.0


def test_the_options_of_films(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"location": "+52.5000+013.4000/", "title": "Rain"}
    film = Maker(codec="libx265", metadata=place).make(tmp_path / "film.mp4", two_scenes(4))
    os.utime(film, ns=(10**18, 10**18))
    out = tmp_path / "out"
    assert colorize(animals, film, "-o", out, "--keep-times", "--vividness", "0") == 0
    first = out / "film.mp4"
    assert first.stat().st_mtime_ns == 10**18 and chroma(first) < 1
    assert open_film(first).codec == "h264"
    with av.open(str(first)) as container:
        assert "location" not in container.metadata and container.metadata["title"] == "Rain"
    assert colorize(animals, film, "-o", out) == 2
    assert "--overwrite to replace it" in capsys.readouterr().err
    assert colorize(animals, film, "-o", out, "--skip-existing") == 0
    assert chroma(first) < 1
    assert colorize(animals, film, "-o", out, "--overwrite", "--keep-gps", "--format", "same") == 0
    assert chroma(first) > 1 and open_film(first).codec == "hevc"
    with av.open(str(first)) as container:
        assert container.metadata["location"] == place["location"]
    sizes = []
    for quality in (20, 95):
        target = tmp_path / f"{quality}.mp4"
        assert colorize(animals, film, "-o", target, "--quality", quality) == 0
        sizes.append(target.stat().st_size)
    assert sizes[0] < sizes[1]


def test_a_folder_of_films(animals: str, tmp_path: Path) -> None:
    films = tmp_path / "films"
    (films / "1911").mkdir(parents=True)
    Maker().make(films / "a.mp4", two_scenes(3))
    Maker(codec="mpeg4", audio="mp3").make(films / "c.avi", two_scenes(3))
    Maker().make(films / "1911" / "b.mkv", two_scenes(3))
    (films / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(50))
    out = tmp_path / "out"
    assert colorize(animals, films, "-o", out, "--recursive") == 1
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert found == ["1911/b.mkv", "a.mp4", "c.mkv"]


def faults(folder: Path) -> dict[str, Path]:
    """Files that are no films that could be coloured."""
    whole = Maker().make(folder / "whole.mp4", two_scenes(3))
    half = folder / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text = folder / "text.mp4"
    text.write_text("no film")
    sound = folder / "sound.mp4"
    with av.open(str(whole)) as source, av.open(str(sound), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    hdr = Maker(pix_fmt="yuv420p10le", transfer=16).make(folder / "hdr.mkv", two_scenes(3))
    return {"whole": whole, "half": half, "text": text, "sound": sound, "hdr": hdr}


@pytest.mark.parametrize(
    ("film", "options", "sentence"),
    [
        ("half", ("-o", "out.mp4"), "half.mp4 cannot be read as a film: "),
        ("text", ("-o", "out.mp4"), "text.mp4 cannot be read as a film: "),
        ("sound", ("-o", "out.mp4"), "sound.mp4 has no video stream"),
        ("hdr", ("-o", "out.mkv"), "hdr.mkv is HDR (PQ), which colorgan does not write"),
        ("whole", ("-o", "out.webm"), "(aac) does not fit into webm"),
        ("whole", ("-o", "out.jpg"), "films are written as .mp4, .m4v, .mov, .mkv, .webm"),
        ("whole", ("-o", "-"), "a film is written to a file"),
        ("whole", ("-o", "s3://bucket/films"), "a film is written to a file"),
        ("whole", ("-o", "out.mp4", "--format", "png"), "--format png is for pictures"),
        ("whole", ("-o", "out.mp4", "--hint", "1,1,#ff0000"), "things move in a film"),
        ("whole", ("-o", "out.mp4", "--page", "1"), "--page is for TIFF files"),
        ("whole", ("-o", "out.mp4", "--quality", "0"), "--quality must lie between 1 and 100"),
        ("whole", ("photo.png", "-o", "out"), "photo.png is no film"),
        ("whole", ("-o", "nowhere/out.mp4/out.mp4"), None),
    ],
)
def test_what_cannot_be_coloured_ends_with_one_sentence(
    animals: str,
    tmp_path: Path,
    film: str,
    options: tuple[str, ...],
    sentence: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    photograph(Path("photo.png"))
    status = colorize(animals, faults(tmp_path)[film].name, *options)
    errors = capsys.readouterr().err.splitlines()
    if sentence is None:
        assert status == 0
        return
    assert status in (1, 2)
    (error,) = [line for line in errors if line.startswith("error: ")]
    assert sentence in error


def test_ten_bits_become_eight_and_a_note_says_so(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = Maker(pix_fmt="yuv420p10le").make(tmp_path / "film.mkv", two_scenes(3))
    assert colorize(animals, film, "-o", tmp_path / "out.mkv", "--quality", 95) == 0
    assert "10 bits a channel; the coloured film has 8" in capsys.readouterr().err
    assert np.abs(lightness(tmp_path / "out.mkv") - lightness(film)).mean() < 1.0


def test_subtitles_that_do_not_fit_are_left_out_with_a_note(
    animals: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = Maker(subtitles=True).make(tmp_path / "film.mkv", two_scenes(3))
    out = tmp_path / "out.mp4"
    assert colorize(animals, film, "-o", out) == 0
    assert "cannot hold its subtitle (" in capsys.readouterr().err
    # Matroska rounds times to milliseconds, so their differences are others in MP4.
    assert [each[0] for each in packets(out, "audio")] == [
        each[0] for each in packets(film, "audio")
    ]
    assert np.array_equal(samples(out), samples(film))


def test_without_the_extra_a_sentence_names_it(
    animals: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film = Maker().make(tmp_path / "film.mp4", two_scenes(3))
    monkeypatch.setitem(sys.modules, "av", None)
    assert colorize(animals, film, "-o", tmp_path / "out.mp4") == 2
    assert "pip install 'colorgan[film]'" in capsys.readouterr().err


def test_films_are_known_by_their_content(tmp_path: Path) -> None:
    for name, maker in (
        ("a.mkv", Maker()),
        ("a.avi", Maker(codec="mpeg4", audio="mp3")),
        ("a.mpg", Maker(codec="mpeg2video", audio="mp2")),
        ("a.ts", Maker()),
        ("a.mov", Maker()),
    ):
        film = maker.make(tmp_path / name, two_scenes(2))
        bare = film.rename(tmp_path / f"{film.suffix[1:]}-without-suffix")
        assert is_film(bare)
    picture = photograph(tmp_path / "photo.png").rename(tmp_path / "picture.mp4")
    assert not is_film(picture)
    photograph(tmp_path / "photo.png")
    # A folder with a photograph, or what may be one, is one of photographs.
    Maker().make(tmp_path / "b.mp4", two_scenes(2))
    (tmp_path / "mixed").mkdir()
    Maker().make(tmp_path / "mixed" / "c.mp4", two_scenes(2))
    (tmp_path / "mixed" / "scan0001").write_bytes(b"")
    assert find_films([str(tmp_path / "mixed")]) == {}
    assert find_films([str(tmp_path), "-", "@list", str(tmp_path / "b.mp4")]) == {
        str(tmp_path / "b.mp4"): [tmp_path / "b.mp4"]
    }


def test_a_scene_is_coloured_by_the_model_of_most_of_its_frames(animals: str) -> None:
    painter = Painter(None, {})

    def route(name: str, score: float) -> Route:
        return Route(name, score, {name: score, "people": 0.1}, None)

    assert painter.choose([route("animals", 0.4), route("animals", 0.4), route("a", 0.9)]) == (
        "animals"
    )
    assert painter.choose([route("animals", 0.4), route("a", 0.9)]) == "a"
    unsure = Route("unsure", 0.3, {"animals": 0.3, "people": 0.2}, None)
    assert painter.choose([unsure]) == "animals"


def make_work(storage: str, film: Path, out: Path, quality: int = 80) -> tuple[Work, Parts]:
    found = open_film(film)
    encoding = choose_encoding(found, "mp4", False, quality)
    kept = choose_kept(found, "mp4", encoding)
    work = Work(found, out, "mp4", kept, FilmSettings(encoding))
    chosen = choose_models(ModelChoice("animals"), storage)
    return work, Parts(out, identify(found, chosen, work.settings))


def test_a_film_goes_on_where_it_was_stopped_and_is_the_same(animals: str, tmp_path: Path) -> None:
    pictures = gray([rgb for seed in range(4) for rgb in pan(seed, 6)])
    film = Maker().make(tmp_path / "film.mp4", pictures)
    painter = Painter.load(choose_models(ModelChoice("animals"), animals), torch.device("cpu"))
    work, parts = make_work(animals, film, tmp_path / "out.mp4", quality=100)

    def stop(progress: Progress) -> None:
        if progress.step == "colouring" and progress.done > 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        color_film(work, parts, lambda: painter, stop)
    assert not work.output.exists()
    kept = {path: path.stat().st_mtime_ns for path in parts.folder.glob("*.nut")}
    assert len(kept) == 2
    # Another process must not work there at the same time.
    with parts.opened(), pytest.raises(Held), parts.opened():
        pass
    told: list[Progress] = []
    color_film(work, parts, lambda: painter, told.append)
    colored = [each for each in told if each.step == "colouring"]
    assert (colored[0].done, colored[0].kept, colored[-1].done) == (13, 12, 24)
    assert not parts.folder.exists()
    again, others = make_work(animals, film, tmp_path / "again.mp4", quality=100)
    again = replace(again, settings=replace(again.settings, batch_size=5))
    color_film(again, others, lambda: painter)
    assert apart(work.output, again.output) < 0.5


def test_a_long_scene_is_coloured_in_parts_that_see_each_other(
    animals: str, tmp_path: Path
) -> None:
    film = Maker(audio=None).make(tmp_path / "film.mkv", gray(pan(0, 260)))
    painter = Painter.load(choose_models(ModelChoice("animals"), animals), torch.device("cpu"))
    work, parts = make_work(animals, film, tmp_path / "out.mp4")
    plan = color_film(work, parts, lambda: painter)
    around = [(each.before, each.first, each.end, each.after) for each in plan.segments]
    assert around == [(0, 0, 130, 130 + AROUND), (130 - AROUND, 130, 260, 260)]
    assert times(work.output) == pytest.approx(times(film), abs=0.0006)


def test_parts_for_other_options_are_made_anew_and_other_folders_left_alone(
    animals: str, tmp_path: Path
) -> None:
    film = Maker().make(tmp_path / "film.mp4", two_scenes(4))
    work, parts = make_work(animals, film, tmp_path / "out.mp4")
    parts.folder.mkdir()
    (parts.folder / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is in the way"), parts.opened():
        pass
    (parts.folder / "mine.txt").unlink()
    with parts.opened():
        assert parts.plan() is None
        (parts.folder / "00000.nut").write_bytes(b"of other options")
        (parts.folder / "plan.json").write_text(json.dumps({"of": "other options", "plan": "{}"}))
    painter = Painter.load(choose_models(ModelChoice("animals"), animals), torch.device("cpu"))
    color_film(work, parts, lambda: painter)
    assert len(seen(work.output)) == 8


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_killed_or_stopped_goes_on(
    animals: str, tmp_path: Path, number: signal.Signals
) -> None:
    pictures = gray([rgb for seed in range(60) for rgb in pan(seed, 10)])
    film = Maker().make(tmp_path / "film.mp4", pictures)
    out = tmp_path / "out.mp4"
    parts = tmp_path / f"out.mp4{PARTS}"
    command = ["colorize", "--storage", animals, "--model", "animals", str(film), "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "colorgan", *command],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(parts.glob("*.nut")) or process.poll() is not None, every_s=0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    if number == signal.SIGINT:
        assert "the same command continues" in errors
    written = {path.name for path in parts.glob("*.nut")}
    assert written and not out.exists()
    assert main(command) == 0
    assert len(seen(out)) == 600 and not parts.exists()
    assert packets(out, "audio") == packets(film, "audio")
