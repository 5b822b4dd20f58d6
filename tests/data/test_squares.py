"""Decoded photographs in files that all processes of a machine share, and disks that are full."""

import fcntl
import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from colorgan.data import squares
from colorgan.data.batches import PhotoBank
from colorgan.data.cache import Cache
from colorgan.data.dataset import Dataset
from colorgan.data.squares import Keeping, Selection, Squares, Stack, read_squares
from colorgan.errors import ColorganError, ConfigError
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import load_banks

SIDE = 24
CLASSES = ("animals", "people", "vehicles")
GIBIBYTE = 2**30


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder for temporary files of the test's own."""
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLORGAN_CACHE_GIB", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for every photograph that is decoded."""
    really, seen = squares.decode, []

    def decode(image: bytes) -> object:
        seen.append(len(image))
        return really(image)

    monkeypatch.setattr(squares, "decode", decode)
    return seen


def read(
    dataset: Dataset, *classes: str, limit: int = 0, memory: int = 0, scratch: str = ""
) -> Squares:
    wanted = Selection(dataset, classes, "train", SIDE, limit)
    return read_squares(wanted, Keeping(memory, scratch))[0]


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if len(path.name) == 64]


@contextmanager
def full_disk(largest: int = 1000) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_model_of_all_classes_and_a_restart_take_what_the_classes_have_decoded(
    scenes: Dataset, cache: Path, decoded: list[int]
) -> None:
    for label in CLASSES:
        read(scenes, label)
    count = scenes.count(CLASSES, "train")
    assert len(decoded) == count and len(kept(cache)) == 3
    shutil.rmtree(Path(scenes.storage.uri, "datasets"))
    general, again = read(scenes, *CLASSES), read(scenes, "people")
    assert len(decoded) == count
    assert isinstance(general, Stack) and isinstance(again, np.memmap)
    assert not again.flags.writeable


def test_files_give_the_pixels_and_the_batches_of_the_memory(scenes: Dataset) -> None:
    ours, theirs = read(scenes, *CLASSES), read(scenes, *CLASSES, memory=GIBIBYTE)
    assert isinstance(theirs, np.ndarray) and not isinstance(theirs, np.memmap)
    assert ours.shape == theirs.shape and ours.nbytes == theirs.nbytes
    np.testing.assert_array_equal(np.asarray(ours), theirs)
    np.testing.assert_array_equal(np.stack(list(ours)), theirs)
    np.testing.assert_array_equal(ours[10:50], theirs[10:50])
    np.testing.assert_array_equal(ours[3, 2:9, 4:11], theirs[3, 2:9, 4:11])
    last = len(theirs) - 1
    np.testing.assert_array_equal(ours[last, 2:9, 4:11], theirs[last, 2:9, 4:11])
    assert len(ours[5:5]) == 0
    for first, second in zip(
        *(PhotoBank(each).batches(16, 16, np.random.default_rng(0)) for each in (ours, theirs)),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_a_limit_and_another_side_have_files_of_their_own(scenes: Dataset, cache: Path) -> None:
    whole = read(scenes, "people")
    some = read(scenes, "people", limit=5)
    np.testing.assert_array_equal(some, whole[:5])
    wider = read_squares(Selection(scenes, ("people",), "train", SIDE + 1), Keeping(0))[0]
    assert wider.shape[1] == SIDE + 1
    assert len(kept(cache)) == 3


def test_two_that_read_at_once_decode_once(scenes: Dataset, decoded: list[int]) -> None:
    threads = [threading.Thread(target=read, args=(scenes, "people")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == scenes.count(("people",), "train")


def test_what_waits_for_another_process_can_be_interrupted(scenes: Dataset, cache: Path) -> None:
    read(scenes, "people")
    (file,) = kept(cache)
    file.unlink()
    with (cache / f".colorgan-lock-{file.name[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        calls: list[int] = []

        def observe(done: int, count: int) -> None:
            calls.append(done)
            if len(calls) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            read_squares(Selection(scenes, ("people",), "train", SIDE), Keeping(0, "", observe))
    assert calls == [0, 0]


def test_progress_counts_every_photograph(scenes: Dataset) -> None:
    for memory in (0, GIBIBYTE):
        calls: list[tuple[int, int]] = []
        keeping = Keeping(memory, "", lambda done, count: calls.append((done, count)))  # noqa: B023
        read_squares(Selection(scenes, CLASSES, "train", SIDE), keeping)
        count = scenes.count(CLASSES, "train")
        assert calls[0] == (0, count) and calls[-1] == (count, count)
        assert calls == sorted(calls)


@pytest.mark.parametrize("gibibytes", ["20", "0"])
def test_a_full_disk_is_named_with_the_bytes_before_anything_is_decoded(
    scenes: Dataset, decoded: list[int], monkeypatch: pytest.MonkeyPatch, gibibytes: str
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", gibibytes)
    size = scenes.count(("people",), "train") * SIDE * SIDE * 3
    with full_disk(), pytest.raises(ColorganError) as error:
        read(scenes, "people")
    assert f"take {size:,} bytes, and {tempfile.gettempdir()} cannot hold them" in str(error.value)
    assert "--scratch" in str(error.value) and "\n" not in str(error.value)
    assert not decoded
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_what_fits_into_memory_needs_no_disk(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squares, "SHARED_FROM", 0)
    assert isinstance(read(scenes, "people", memory=GIBIBYTE), np.memmap)
    with full_disk():
        pixels = read(scenes, "animals", memory=GIBIBYTE)
    assert not isinstance(pixels, np.memmap) and len(pixels)


def test_without_room_in_the_cache_the_file_has_no_name(
    scenes: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "0.00001")
    pixels = read(scenes, "people")
    assert isinstance(pixels, np.memmap) and not kept(cache)
    assert not list(Path(tempfile.gettempdir()).iterdir())
    np.testing.assert_array_equal(pixels, read(scenes, "people", memory=GIBIBYTE))


def test_scratch_is_where_files_lie_whatever_limits_the_cache(
    scenes: Dataset, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "0")
    scratch = tmp_path / "large" / "disk"
    speed = SpeedConfig(scratch=str(scratch), photo_memory_gib=0)
    bank, _ = load_banks(scenes, "people", TrainingConfig(size=32), speed)
    assert isinstance(bank.pixels, np.memmap)
    assert len(kept(scratch)) == 2 and not cache.exists()
    with pytest.raises(ConfigError, match="--scratch large must be an absolute path"):
        SpeedConfig(scratch="large")
    (tmp_path / "a-file").touch()
    with pytest.raises(ColorganError, match=r"--scratch .*/a-file/x cannot be used: Not a direct"):
        read(scenes, "people", scratch=f"{tmp_path}/a-file/x")


def test_what_a_dead_process_has_reserved_is_free_at_the_next_start(tmp_path: Path) -> None:
    dead, alive = (tmp_path / f".colorgan-reserved-{name}" for name in ("dead", "alive"))
    for path in (dead, alive):
        path.write_bytes(b"photographs")
        os.utime(path, (1, 1))
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Cache(tmp_path, GIBIBYTE)
        assert not dead.exists() and alive.exists()


def test_an_interrupted_reading_leaves_no_file(scenes: Dataset, cache: Path) -> None:
    def interrupt(done: int, count: int) -> None:
        raise KeyboardInterrupt

    for scratch in ("", str(cache)):
        with pytest.raises(KeyboardInterrupt):
            read_squares(
                Selection(scenes, ("people",), "train", SIDE), Keeping(0, scratch, interrupt)
            )
        assert all(path.name.startswith(".colorgan-lock") for path in cache.iterdir())
    assert not list(Path(tempfile.gettempdir()).iterdir())
