"""Films on a real Ray."""

from pathlib import Path

import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.film.work import PARTS
from tests.conftest import Jobs
from tests.film.films import Maker, apart, gray, packets, pan
from tests.packages.test_packages import publish_animals

pytestmark = pytest.mark.slow


def test_a_folder_of_films_is_spread_over_the_cluster_as_one_process_colours_it(
    jobs: Jobs, scenes: Dataset, tmp_path: Path
) -> None:
    publish_animals(scenes)
    storage = scenes.storage.uri
    films, out = tmp_path / "films", tmp_path / "out"
    (films / "1911").mkdir(parents=True)
    first = Maker().make(films / "a.mp4", gray(pan(0, 8) + pan(1, 8) + pan(2, 8)))
    second = Maker().make(films / "1911" / "b.mkv", gray(pan(3, 8)))
    (films / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(50))
    options = ("--storage", storage, "--model", "animals", "--quality", "100")
    job = jobs.start_script("colorize", str(films), str(out), *options, "--actors", "2")
    assert job.finish() == 1, job.output
    assert "broken.mp4 cannot be read as a film" in job.output
    assert "32 of 32 frames" in job.output
    alone = tmp_path / "alone.mp4"
    assert main(["colorize", *options, str(first), "-o", str(alone)]) == 0
    assert apart(alone, out / "a.mp4") < 0.5
    assert packets(out / "1911" / "b.mkv", "audio") == packets(second, "audio")
    assert not list(out.rglob(f"*{PARTS}"))
    # Submitted again, the job tries only what failed.
    kept = (out / "a.mp4").stat().st_mtime_ns
    job = jobs.start_script("colorize", str(films), str(out), *options)
    assert job.finish() == 1, job.output
    assert "3 films of" in job.output and "2 are there" in job.output
    assert (out / "a.mp4").stat().st_mtime_ns == kept
