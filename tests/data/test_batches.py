import dataclasses
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from colorgan.data.batches import DevicePhotographs, PhotoBank, on_device, prefetched
from colorgan.data.dataset import Balance, Dataset
from colorgan.errors import ColorganError, ConfigError
from colorgan.images.decoding import Pixels, decode, resize_square

GIBIBYTE = 2**30


def coordinates(count: int = 40, side: int = 24) -> Pixels:
    """Photographs whose pixels tell their row, their column and their photograph."""
    photo, row, column = np.indices((count, side, side), dtype=np.uint8)
    return np.stack([row, column, photo], axis=-1)


def epoch(bank: PhotoBank, seed: int, batch_size: int = 16, crop: int = 16) -> Pixels:
    """Every crop of an epoch, channels last."""
    batches = list(bank.batches(batch_size, crop, np.random.default_rng(seed)))
    return torch.cat(batches).permute(0, 2, 3, 1).numpy()


def test_every_photograph_is_decoded_into_a_square(scenes: Dataset) -> None:
    bank = PhotoBank.load(scenes, ("animals", "people"), "train", 48, GIBIBYTE)
    rows = [*scenes.rows(("animals",), "train"), *scenes.rows(("people",), "train")]
    assert len(bank) == len(rows) == scenes.count(("animals", "people"), "train") > 20
    assert bank.pixels.dtype == np.uint8
    assert not isinstance(bank.pixels, np.memmap)
    expected = np.stack([resize_square(decode(row.image).rgb, 48) for row in rows])
    np.testing.assert_array_equal(bank.pixels, expected)


def test_photographs_over_the_memory_limit_are_mapped_from_a_file(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    in_memory = PhotoBank.load(scenes, ("people",), "train", 48, GIBIBYTE)
    size = in_memory.pixels.nbytes
    assert not isinstance(PhotoBank.load(scenes, ("people",), "train", 48, size).pixels, np.memmap)
    mapped = PhotoBank.load(scenes, ("people",), "train", 48, size - 1)
    assert isinstance(mapped.pixels, np.memmap)
    np.testing.assert_array_equal(mapped.pixels, in_memory.pixels)
    np.testing.assert_array_equal(epoch(mapped, 0, crop=32), epoch(in_memory, 0, crop=32))
    assert list(folder.iterdir()) == []


def test_a_limit_takes_the_same_photographs_every_time(scenes: Dataset) -> None:
    whole = PhotoBank.load(scenes, ("vehicles",), "train", 32, GIBIBYTE)
    for limit, count in ((5, 5), (1000, len(whole))):
        limited = PhotoBank.load(scenes, ("vehicles",), "train", 32, GIBIBYTE, limit)
        assert len(limited) == count
        np.testing.assert_array_equal(limited.pixels, whole.pixels[:count])


def test_an_empty_split_is_one_clear_error(scenes: Dataset) -> None:
    counts = {**scenes.manifest.counts, "people": {"train": 24, "val": 0, "test": 0}}
    manifest = dataclasses.replace(scenes.manifest, counts=counts)
    with pytest.raises(
        ColorganError, match=r"class 'people' in its validation split.*--val-share"
    ) as error:
        PhotoBank.load(Dataset(scenes.storage, manifest), ("people",), "val", 32, GIBIBYTE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(16, [16, 16, 8]), (40, [40]), (64, [40]), (39, [39, 1])]
)
def test_the_last_batch_may_be_smaller(batch_size: int, sizes: list[int]) -> None:
    batches = list(PhotoBank(coordinates()).batches(batch_size, 16, np.random.default_rng(0)))
    assert [batch.shape for batch in batches] == [(size, 3, 16, 16) for size in sizes]
    assert {batch.dtype for batch in batches} == {torch.uint8}


def test_an_epoch_has_every_photograph_once_in_an_order_of_its_own() -> None:
    bank = PhotoBank(coordinates())
    rng = np.random.default_rng(0)
    orders = [
        torch.cat([batch[:, 2, 0, 0] for batch in bank.batches(16, 16, rng)]).tolist()
        for _ in range(2)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(40))
    assert orders[0] != orders[1] != list(range(40))


def test_the_same_seed_gives_the_same_batches() -> None:
    bank = PhotoBank(coordinates())
    np.testing.assert_array_equal(epoch(bank, 3), epoch(bank, 3))
    assert not np.array_equal(epoch(bank, 3), epoch(bank, 4))
    np.testing.assert_array_equal(epoch(bank, 3, batch_size=7), epoch(bank, 3))


def test_crops_lie_inside_their_photograph_and_are_flipped_or_not() -> None:
    pixels = coordinates()
    corners, flips = set(), []
    for crop in epoch(PhotoBank(pixels), 0):
        flipped = bool(crop[0, 0, 1] > crop[0, -1, 1])
        upright = crop[:, ::-1] if flipped else crop
        top, left, photo = upright[0, 0]
        np.testing.assert_array_equal(upright, pixels[photo, top : top + 16, left : left + 16])
        corners.add((top, left))
        flips.append(flipped)
    assert len(corners) > 20
    assert 8 < sum(flips) < 32


def test_every_place_is_cropped_some_time() -> None:
    bank = PhotoBank(coordinates(count=200, side=20))
    rows, columns, _ = epoch(bank, 0)[:, 0].min(axis=1).T
    assert set(rows) == set(columns) == set(range(5))


def test_a_crop_of_the_whole_is_the_photograph_or_its_mirror_image() -> None:
    pixels = coordinates()
    for crop in epoch(PhotoBank(pixels), 0, crop=24):
        photo = pixels[crop[0, 0, 2]]
        assert np.array_equal(crop, photo) or np.array_equal(crop, photo[:, ::-1])


def test_whole_photographs_in_order() -> None:
    pixels = coordinates()
    batches = list(PhotoBank(pixels).in_order(16))
    assert [len(batch) for batch in batches] == [16, 16, 8]
    np.testing.assert_array_equal(torch.cat(batches).permute(0, 2, 3, 1), pixels)


def preparing() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("colorgan-batches")]


def test_photographs_on_a_device_give_the_banks_batches() -> None:
    rng = np.random.default_rng(0)
    bank = PhotoBank(rng.integers(0, 256, (7, 11, 11, 3), dtype=np.uint8))
    kept = DevicePhotographs(bank, torch.device("cpu"))
    assert len(kept) == 7
    for crop in (8, 11):
        ours = list(kept.batches(3, crop, np.random.default_rng(5)))
        theirs = list(bank.batches(3, crop, np.random.default_rng(5)))
        assert [len(batch) for batch in ours] == [3, 3, 1]
        assert all(map(torch.equal, ours, theirs))
        assert all(batch.is_contiguous() for batch in ours)
    assert all(map(torch.equal, kept.in_order(4), bank.in_order(4)))


@pytest.mark.parametrize("prefetch", [False, True])
def test_batches_come_to_the_device_in_their_order(prefetch: bool) -> None:
    bank, cpu = PhotoBank(coordinates()), torch.device("cpu")
    batches = bank.batches(16, 16, np.random.default_rng(3))
    moved = torch.cat(list(on_device(batches, cpu, prefetch)))
    np.testing.assert_array_equal(moved.permute(0, 2, 3, 1).numpy(), epoch(bank, 3))
    assert not preparing()


def test_the_next_batch_is_prepared_while_this_one_is_worked_on() -> None:
    second = threading.Event()

    def batches() -> Iterator[torch.Tensor]:
        yield torch.tensor(1)
        second.set()
        yield torch.tensor(2)

    taken = prefetched(batches(), torch.Tensor.neg)
    assert next(taken) == -1
    assert second.wait(10), "nobody has asked for it yet"
    assert next(taken) == -2
    assert next(taken, None) is None


def test_a_fault_in_the_thread_is_raised_at_its_batch() -> None:
    def batches() -> Iterator[torch.Tensor]:
        yield torch.tensor(1)
        raise OSError("the file is gone")

    taken = prefetched(batches(), torch.Tensor.neg)
    assert next(taken) == -1
    with pytest.raises(OSError, match="the file is gone"):
        next(taken)
    assert not preparing()


def test_no_thread_is_left_behind_by_who_stops_early() -> None:
    taken = prefetched(iter(torch.arange(9)), torch.Tensor.neg)
    assert next(taken) == 0
    assert preparing()
    taken.close()
    assert not preparing()


GROUPS = [*[("cats", 0)] * 30, *[("cats", 1)] * 10, *[("dogs", 1)] * 40]


def drawn(bank: PhotoBank, epochs: int) -> np.ndarray:
    """The share of each photograph in some epochs."""
    orders = [
        torch.cat(
            [batch[:, 2, 0, 0] for batch in bank.batches(16, 16, np.random.default_rng([1, e]))]
        )
        for e in range(epochs)
    ]
    assert {len(order) for order in orders} == {len(bank)}
    return np.bincount(torch.cat(orders).numpy(), minlength=len(bank)) / (epochs * len(bank))


@pytest.mark.parametrize(
    ("balance", "shares"),
    [
        ("classes", {("cats", 0): 0.375, ("cats", 1): 0.125, ("dogs", 1): 0.5}),
        ("sources", {("cats", 0): 0.25, ("cats", 1): 0.25, ("dogs", 1): 0.5}),
    ],
)
def test_an_epoch_gives_what_is_balanced_equal_shares(
    balance: Balance, shares: dict[tuple[str, int], float]
) -> None:
    groups = [*GROUPS[:40], *GROUPS[40:60]]  # 30 and 10 cats of two sources, 20 dogs
    bank = PhotoBank(coordinates(60), groups, balance)
    found = drawn(bank, 200)
    for group, share in shares.items():
        members = [number for number, each in enumerate(groups) if each == group]
        assert found[members].sum() == pytest.approx(share, abs=0.02)
        assert found[members] == pytest.approx(share / len(members), rel=0.4)


@pytest.mark.parametrize("balance", ["classes", "sources"])
def test_a_balanced_epoch_follows_from_its_seed_and_each_place_has_a_crop_of_its_own(
    balance: Balance,
) -> None:
    bank = PhotoBank(coordinates(80), GROUPS, balance)
    np.testing.assert_array_equal(epoch(bank, 3), epoch(bank, 3, batch_size=7))
    assert not np.array_equal(epoch(bank, 3), epoch(bank, 4))
    crops = epoch(bank, 3)
    again = [number for number, times in enumerate(np.bincount(crops[:, 0, 0, 2])) if times > 2]
    assert any(len(np.unique(crops[crops[:, 0, 0, 2] == n], axis=0)) > 1 for n in again)
    kept = DevicePhotographs(bank, torch.device("cpu"))
    for ours, theirs in zip(
        kept.batches(16, 16, np.random.default_rng(3)),
        bank.batches(16, 16, np.random.default_rng(3)),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_without_balance_an_epoch_is_what_it_was() -> None:
    """Order, corners and flips as before there were groups: by photograph."""
    rng = np.random.default_rng(7)
    order = rng.permutation(40)
    tops, lefts = rng.integers(0, 9, (2, 40))
    flips = rng.integers(0, 2, size=(40,))
    pixels = coordinates()
    expected = [
        pixels[n, tops[n] : tops[n] + 16, lefts[n] : lefts[n] + 16][:, :: -1 if flips[n] else 1]
        for n in order
    ]
    np.testing.assert_array_equal(epoch(PhotoBank(pixels), 7), np.stack(expected))
    np.testing.assert_array_equal(
        epoch(PhotoBank(pixels, GROUPS[:40], "none"), 7), np.stack(expected)
    )


def test_a_bank_knows_the_class_and_the_source_of_each_photograph(scenes: Dataset) -> None:
    bank = PhotoBank.load(scenes, ("animals", "people"), "train", 32, GIBIBYTE, balance="classes")
    rows = [*scenes.rows(("animals",), "train"), *scenes.rows(("people",), "train")]
    assert bank.groups == tuple((row.label, 0) for row in rows)
    assert bank.weights is not None
    animals = sum(group == ("animals", 0) for group in bank.groups)
    assert bank.weights[:animals].sum() == pytest.approx(0.5)
    assert PhotoBank.load(scenes, ("people",), "train", 32, GIBIBYTE).weights is None


def test_nothing_can_be_balanced_whose_classes_are_not_known() -> None:
    with pytest.raises(ConfigError, match="--balance classes"):
        PhotoBank(coordinates(), balance="classes")
