"""Rows of what an encoder sees, computed once: in the cache, in memory, or not at all."""

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from colorgan.data.batches import PhotoBank
from colorgan.data.features import Looker, look_once
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from tests.training.test_phases import SMALL, bank, losses

CPU = torch.device("cpu")
GROUPS = [("animals", 0)] * 300 + [("people", 0)] * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLORGAN_CACHE_GIB", raising=False)
    return tmp_path / "cache"


def numbered(groups: list[tuple[str, int]] = GROUPS, balance: str = "none") -> PhotoBank:
    """Photographs of 4 px, of which the first two pixels are their number and the last is 9."""
    pixels = np.zeros((len(groups), 4, 4, 3), np.uint8)
    places = {label: 0 for label, _ in groups}
    for pixel, (label, _) in zip(pixels, groups, strict=True):
        places[label] += 1
        pixel[0, 0] = ("animals", "people").index(label), places[label] // 200, places[label] % 200
        pixel[0, -1] = 9
    return PhotoBank(pixels, groups, balance)  # type: ignore[arg-type]


class Eyes:
    """Sees the first row of pixels, and counts how many pictures it has seen."""

    def __init__(self, name: str = "eyes") -> None:
        self.seen = 0
        self.looker = Looker(self.look, 12, torch.bfloat16, name)

    def look(self, rgb: torch.Tensor) -> torch.Tensor:
        self.seen += len(rgb)
        return rgb[:, :, 0].flatten(1).to(torch.bfloat16)


def files(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if len(path.name) == 64]


def test_rows_are_those_of_the_photographs_straight_and_mirrored(cache: Path) -> None:
    photographs, eyes = numbered(), Eyes()
    rows = look_once(photographs, eyes.looker, mirrored=True)
    assert rows and len(rows) == 340
    straight = torch.cat(list(rows.in_order(64)))
    pixels = torch.from_numpy(photographs.pixels).permute(0, 3, 1, 2)
    assert torch.equal(straight, pixels[:, :, 0].flatten(1).to(torch.bfloat16))
    drawn = list(rows.batches(64, 4, np.random.default_rng(3)))
    plain = list(photographs.batches(64, 4, np.random.default_rng(3)))
    for row, rgb in zip(drawn, plain, strict=True):
        assert torch.equal(row, rgb[:, :, 0].flatten(1).to(torch.bfloat16))
    assert len({len(row) for row in drawn}) == 2 and len(drawn) == 6


def test_balanced_rows_are_drawn_as_the_banks_photographs_are() -> None:
    photographs = numbered(balance="classes")
    rows = look_once(photographs, Eyes().looker, mirrored=True)
    assert rows
    drawn = torch.cat(list(rows.batches(50, 4, np.random.default_rng(0))))
    plain = torch.cat(list(photographs.batches(50, 4, np.random.default_rng(0))))
    assert torch.equal(drawn, plain[:, :, 0].flatten(1).to(torch.bfloat16))


def test_what_a_class_has_computed_serves_all_and_a_restart(cache: Path) -> None:
    animals, eyes = numbered(GROUPS[:300]), Eyes()
    look_once(animals, eyes.looker, mirrored=True)
    assert eyes.seen == 600 and len(files(cache)) == 2  # of 256 and of 44 photographs
    everything = look_once(numbered(), eyes.looker, mirrored=True)
    assert everything and eyes.seen == 680
    again = look_once(numbered(), eyes.looker, mirrored=True)
    assert again and eyes.seen == 680
    assert torch.equal(*(torch.cat(list(each.in_order(99))) for each in (everything, again)))


@pytest.mark.parametrize("change", ["name", "mirrored", "pixels"])
def test_whatever_decides_a_row_decides_the_file(change: str) -> None:
    look_once(numbered(), Eyes().looker, mirrored=True)
    photographs, eyes = numbered(), Eyes("other" if change == "name" else "eyes")
    if change == "pixels":
        photographs.pixels[:, 1, 1] = 7
    look_once(photographs, eyes.looker, mirrored=change != "mirrored")
    assert eyes.seen == (340 if change == "mirrored" else 680)


def test_an_interruption_costs_one_part(cache: Path) -> None:
    eyes = Eyes()

    def stop(fraction: float) -> None:
        if fraction > 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_once(numbered(), eyes.looker, True, stop)
    assert len(files(cache)) == 2
    assert not [path for path in cache.iterdir() if "part" in path.name]
    fractions: list[float] = []
    rows = look_once(numbered(), eyes.looker, True, fractions.append)
    assert rows and len(files(cache)) == 3
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_they_count_for_the_caches_limit_and_stay_readable_when_thrown_away(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = look_once(numbered(), Eyes().looker, True)
    assert rows
    expected = torch.cat(list(rows.in_order(99)))
    old = time.time() - 60
    for path in files(cache):
        os.utime(path, (old, old))
    size = sum(path.stat().st_size for path in files(cache))
    assert size == 340 * 2 * 12 * 2
    monkeypatch.setenv("COLORGAN_CACHE_GIB", str(1.2 * size / 2**30))
    others = numbered()
    others.pixels[:, 1, 1] = 7
    assert look_once(others, Eyes().looker, True)
    assert sum(path.stat().st_size for path in files(cache)) <= 1.2 * size
    assert torch.equal(torch.cat(list(rows.in_order(99))), expected)


@pytest.mark.parametrize("limit", ["0", "1e-6"])
def test_without_room_in_the_cache_they_are_in_memory(
    cache: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    expected = look_once(numbered(), Eyes().looker, True)
    for path in files(cache):
        path.unlink()
    monkeypatch.setenv("COLORGAN_CACHE_GIB", limit)
    eyes = Eyes()
    rows = look_once(numbered(), eyes.looker, True)
    assert rows and expected and eyes.seen == 680
    assert not files(cache)
    assert torch.equal(*(torch.cat(list(each.in_order(99))) for each in (rows, expected)))


def test_what_neither_disk_nor_memory_takes_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "0")
    eyes = Eyes()
    vast = dataclasses.replace(eyes.looker, length=2**50)
    assert look_once(numbered(), vast, True) is None
    assert eyes.seen == 0


def trained(config: TrainingConfig, precision: str, keep_features: str) -> Training:
    speed = SpeedConfig(
        precision=precision,  # type: ignore[arg-type]
        keep_features=keep_features,  # type: ignore[arg-type]
        channels_last="on",
    )
    training = Training(config, bank(8, 0), bank(3, 1), CPU, speed)
    list(training.run())
    return training


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.05), ("float32", 0.01)])
def test_a_training_on_rows_is_nearly_that_on_photographs(
    cache: Path, precision: str, error: float
) -> None:
    config = dataclasses.replace(SMALL, phases="perceptual", lambda_perceptual=1.0)
    with_rows, without = (trained(config, precision, each) for each in ("on", "off"))
    assert with_rows.rows and without.rows is None
    assert len(files(cache)) == 2
    ours, theirs = (
        [[number or 0.0 for number in line] for line in losses(each.history)]
        for each in (with_rows, without)
    )
    np.testing.assert_allclose(ours, theirs, rtol=error)


def test_a_base_model_with_another_encoder_is_looked_at_with_that(cache: Path) -> None:
    config = dataclasses.replace(SMALL, phases="regression", epochs=1)
    tuned = Training(dataclasses.replace(config, encoder_rate=1.0), bank(8, 0), bank(3, 1), CPU)
    list(tuned.run())
    fresh, started = (Training(config, bank(8, 0), bank(3, 1), CPU) for _ in range(2))
    started.start_from(tuned.generator)
    list(fresh.run())
    list(started.run())
    assert len(files(cache)) == 4
    assert started.rows
    sample = started.sampler.of_rows(next(started.rows[1].in_order(3)), 64)
    expected = started.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    for seen, wanted in zip(sample.features, expected.features, strict=True):
        torch.testing.assert_close(seen.float(), wanted.float(), rtol=0.05, atol=0.2)


def test_rows_hold_what_the_losses_look_at(cache: Path) -> None:
    config = dataclasses.replace(
        SMALL, discriminators="features", chroma=1.0, lambda_perceptual=1.0, epochs=1
    )
    training = Training(config, bank(8, 0), bank(3, 1), CPU)
    list(training.run())
    assert training.rows
    rows = training.sampler.of_rows(next(training.rows[1].in_order(3)), 64)
    photographs = training.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    steps = training.steps
    seen, judged = steps.see_real(photographs), steps.see_gray(photographs)
    assert rows.seen and rows.seen_gray and photographs.seen is None
    for kept, computed in ((rows.seen, seen), (rows.seen_gray, judged)):
        for maps, expected in zip(kept[0], computed[0], strict=True):
            torch.testing.assert_close(maps.float(), expected.float(), rtol=0.02, atol=0.02)

    enhanced = Training(dataclasses.replace(config, chroma=1.2), bank(8, 0), bank(3, 1), CPU)
    list(enhanced.run())
    assert enhanced.rows
    sample = enhanced.sampler.of_rows(next(enhanced.rows[1].in_order(3)), 64)
    assert sample.seen is None and sample.seen_gray, "photographs of more chroma look otherwise"


def test_a_regression_keeps_nothing_that_it_does_not_look_at(cache: Path) -> None:
    config = dataclasses.replace(SMALL, phases="regression", lambda_perceptual=1.0, epochs=1)
    training = Training(config, bank(8, 0), bank(3, 1), CPU)
    list(training.run())
    assert training.rows
    sample = training.sampler.of_rows(next(training.rows[1].in_order(3)), 64)
    assert sample.seen is None and sample.seen_gray is None
