"""Photographs read as a stream: which, in which order, and what is held meanwhile."""

import io
import signal
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from colorgan.data import streams
from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, Shard
from colorgan.data.squares import Keeping, Selection, read_squares
from colorgan.data.stream_order import LANES, Piece, buffer_size, epoch, portion
from colorgan.data.streams import PhotoStream
from colorgan.errors import Corrupt, ProcessDied
from colorgan.images.decoding import Pixels
from colorgan.storage import Storage, open_storage
from colorgan.workers import ALONE, Workers
from tests.data.cache.datasets import PETS, write_dataset
from tests.data.photographs import pixels
from tests.waiting import wait_until

SIDE = 16
LAYOUT = {("cats", "train"): (5, 4, 6, 3), ("dogs", "train"): (7, 2, 4), ("cats", "val"): (3,)}
COUNT = 31
CLASSES = ("cats", "dogs")


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number, SIDE, SIDE)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pets(storage: Storage) -> Dataset:
    """Pictures of the side of the squares, in seven shards."""
    return write_dataset(storage, "pets", LAYOUT, picture)


def wanted(dataset: Dataset, side: int = SIDE, limit: int = 0) -> Selection:
    return Selection(dataset, CLASSES, "train", side, limit)


def rng(seed: int = 0, number: int = 1) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def batches(
    stream: PhotoStream,
    seed: int = 0,
    number: int = 1,
    crop: int = SIDE,
    workers: Workers = ALONE,
    skip: int = 0,
) -> list[Pixels]:
    drawn = stream.batches(4, crop, rng(seed, number), skip, workers)
    return [batch.permute(0, 2, 3, 1).numpy() for batch in drawn]


def photographs(squares: Sequence[Pixels]) -> Counter[bytes]:
    """How often each photograph occurs, flipped or not."""
    return Counter(min(each.tobytes(), each[:, ::-1].tobytes()) for each in squares)


def all_photographs(dataset: Dataset, limit: int = 0) -> Counter[bytes]:
    squares, _ = read_squares(wanted(dataset, limit=limit), Keeping(2**30))
    return photographs(list(squares))


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_an_epoch_has_every_photograph_once_however_many_processes_decode(
    pets: Dataset, processes: int
) -> None:
    ours = batches(PhotoStream(wanted(pets), processes=processes))
    assert [len(batch) for batch in ours] == [4] * 7 + [3]
    assert photographs(np.concatenate(ours)) == all_photographs(pets)
    assert all_photographs(pets).total() == COUNT


def test_the_order_and_the_crops_follow_from_the_seed_and_the_epoch_alone(pets: Dataset) -> None:
    stream = PhotoStream(wanted(pets, side=24), processes=2)
    first = batches(stream)
    np.testing.assert_equal(batches(stream), first)
    np.testing.assert_equal(batches(PhotoStream(wanted(pets, side=24), processes=0)), first)
    for seed, number in ((1, 1), (0, 2)):
        other = np.concatenate(batches(stream, seed, number))
        assert not np.array_equal(other, np.concatenate(first))
    whole = np.concatenate(batches(PhotoStream(wanted(pets, side=24), processes=0), crop=24))
    assert len(photographs(whole)) == COUNT


@pytest.mark.parametrize("skip", [1, 3, 7, 8])
def test_the_rest_of_an_epoch_is_that_of_the_whole_one(pets: Dataset, skip: int) -> None:
    stream = PhotoStream(wanted(pets, side=24), processes=2)
    np.testing.assert_equal(batches(stream, skip=skip), batches(stream)[skip:])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_workers_divide_each_step_among_themselves(pets: Dataset, count: int) -> None:
    stream = PhotoStream(wanted(pets), processes=0)
    found: list[bytes] = []
    sizes = np.zeros(8, int)
    for rank in range(count):
        workers = Workers(rank, count)
        for place, batch in enumerate(batches(stream, workers=workers)):
            size = min(4, COUNT - 4 * place)
            assert len(batch) == len(workers.within(0, size)), "one where it has no part"
            begin, end = workers.bounds(size)
            sizes[place] += end - begin
        found += [row.image for row in stream.rows(4, rng(), workers)]
    assert sizes.tolist() == [4] * 7 + [3]
    assert Counter(found) == Counter(picture(number) for number in range(COUNT))


def test_a_limit_takes_the_photographs_that_memory_would(pets: Dataset) -> None:
    stream = PhotoStream(wanted(pets, limit=11), processes=0)
    assert len(stream) == 11
    assert photographs(np.concatenate(batches(stream))) == all_photographs(pets, limit=11)


def test_the_name_of_the_order_tells_the_number_of_workers(pets: Dataset) -> None:
    stream = PhotoStream(wanted(pets))
    names = {stream.order(Workers(0, count)) for count in (1, 2)}
    assert len(names) == 2 and stream.order(Workers(1, 2)) in names
    bank = PhotoBank(*read_squares(wanted(pets), Keeping(2**30)))
    assert {bank.order(Workers(0, count)) for count in (1, 2)} == {"memory"}


def test_a_damaged_shard_is_one_sentence_although_another_process_has_read_it(
    pets: Dataset,
) -> None:
    path = Path(pets.storage.location("datasets/pets/dogs/train-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Corrupt, match=r"^datasets/pets/dogs/train-00001.parquet does not match"):
        batches(PhotoStream(wanted(pets), processes=2))


def test_no_process_outlives_its_epoch(pets: Dataset) -> None:
    before = {child.pid for child in psutil.Process().children()}
    drawn = PhotoStream(wanted(pets), processes=2).batches(4, SIDE, rng())
    next(drawn)
    assert len({child.pid for child in psutil.Process().children()} - before) == 2
    drawn.close()
    wait_until(lambda: {child.pid for child in psutil.Process().children()} <= before)


@pytest.mark.parametrize("kept", ["cache", "scratch", "nothing"])
def test_shards_in_s3_are_kept_where_the_user_says(
    s3_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    dataset = write_dataset(s3_storage, "pets", LAYOUT, picture)
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "1" if kept == "cache" else "0")
    scratch = str(tmp_path / "scratch") if kept == "scratch" else ""
    stream = PhotoStream(wanted(dataset), processes=2, scratch=scratch)
    ours = np.concatenate(batches(stream))
    local = write_dataset(open_storage(str(tmp_path / "local")), "pets", LAYOUT, picture)
    assert photographs(ours) == all_photographs(local)
    np.testing.assert_array_equal(
        ours, np.concatenate(batches(PhotoStream(wanted(local), processes=1)))
    )
    files = {
        folder: [path for path in (tmp_path / folder).iterdir() if len(path.name) == 64]
        for folder in ("cache", "scratch")
        if (tmp_path / folder).exists()
    }
    assert {folder: len(names) for folder, names in files.items() if names} == (
        {} if kept == "nothing" else {kept: 7}
    )


def shard(label: str, number: int, rows: int, size: int = 30_000) -> Shard:
    return Shard(f"{label}/{number}", label, "train", rows, rows * size, "")


class Reader:
    """Reads numbered photographs, and counts what is open and what was read."""

    def __init__(self) -> None:
        self.open = self.most_open = self.read = 0
        self.labels: list[str] = []

    def __call__(self, pieces: Sequence[Piece]) -> Generator[tuple[str, int], None, None]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            for piece in pieces:
                for row in range(piece.begin, piece.end):
                    self.read += 1
                    yield piece.shard.key, row
        finally:
            self.open -= 1


def pieces(shards: int, rows: int = 200, labels: Sequence[str] = ("a", "b")) -> list[Piece]:
    return [
        Piece(shard(label, number, rows), 0, rows) for label in labels for number in range(shards)
    ]


@pytest.mark.parametrize("shards", [20, 100])
def test_what_is_held_does_not_grow_with_the_photographs(shards: int) -> None:
    reader, some = Reader(), pieces(shards)
    most = given = 0
    for _ in epoch(some, reader, (0, 0), range(2 * shards * 200)):
        given += 1
        most = max(most, reader.read - given)
    assert given == reader.read == 2 * shards * 200
    assert most < buffer_size(some) + LANES and buffer_size(some) == 2048
    assert reader.most_open <= LANES and not reader.open


def test_the_buffer_is_bounded_in_bytes_as_well() -> None:
    large = [Piece(shard("a", 0, 100, size=2**20), 0, 100)]
    assert buffer_size(large) == 64
    assert buffer_size([Piece(shard("a", 0, 1, size=2**30), 0, 1)]) == 1


def test_the_classes_mix_although_each_shard_has_one() -> None:
    labels = ("a", "b", "c")
    read = list(epoch(pieces(30, 500, labels), Reader(), (3, 0), range(45_000)))
    for start in range(0, 45_000, 1500):
        counts = Counter(key[0] for key, _ in read[start : start + 1500])
        assert min(counts[label] for label in labels) > 150
    assert len(set(read)) == 45_000


@pytest.mark.parametrize(
    ("total", "batch_size", "count"), [(31, 4, 3), (32, 4, 2), (3, 16, 5), (1000, 16, 7), (5, 5, 1)]
)
def test_the_portions_of_the_workers_are_an_epoch(total: int, batch_size: int, count: int) -> None:
    found = [portion(total, batch_size, Workers(rank, count)) for rank in range(count)]
    assert [each for own in found for each in own] == list(range(total))


def test_balance_draws_the_classes_equally_and_every_photograph_in_turn() -> None:
    some = pieces(1, 30, ("rare",)) + pieces(10, 300, ("common",))
    read = list(epoch(some, Reader(), (0, 0), range(3030), "classes"))
    assert len(read) == 3030
    rare = Counter(key for key in read if key[0].startswith("rare"))
    assert abs(rare.total() - 1515) < 150, "four standard deviations"
    # In rounds, so that none is drawn much oftener than another; the buffer holds the last ones.
    assert max(rare.values()) - min(rare.values()) <= 2 and len(rare) == 30
    assert read == list(epoch(some, Reader(), (0, 0), range(3030), "classes"))


def test_balance_keeps_what_is_drawn_in_an_epoch_bounded(pets: Dataset) -> None:
    stream = PhotoStream(wanted(pets), "classes", processes=0)
    assert len(np.concatenate(batches(stream))) == COUNT
    cats = {picture(number) for number in range(18)}
    drawn = [row.image in cats for row in islice(stream.rows(4, rng()), COUNT)]
    assert 0.2 < np.mean(drawn) < 0.8


def test_a_photograph_that_cannot_be_decoded_ends_the_epoch(storage: Storage) -> None:
    dataset = write_dataset(storage, "pets", PETS)  # noise
    stream = PhotoStream(Selection(dataset, ("cats",), "train", SIDE), processes=1)
    with pytest.raises(Exception, match="not an image"):
        list(stream.batches(4, SIDE, rng()))


def test_the_death_of_a_process_that_sends_a_batch_is_noticed_in_a_thread(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SILENCE_S", 0.5)
    this = psutil.Process()
    before = this.children()

    def read() -> None:
        with closing(PhotoStream(wanted(pets, side=192)).batches(4, 192, rng())) as drawn:
            next(drawn)
            (process,) = (
                each
                for each in this.children()
                if each not in before and each.cmdline() == this.cmdline()
            )
            # A batch is larger than the buffer of a pipe, so it waits in the middle of the next.
            process.kill()
            for _ in drawn:
                pass

    # PyTorch's handler, which another test may have installed, would tell the main thread.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        with ThreadPoolExecutor(1) as thread, pytest.raises(ProcessDied, match="exited unexpected"):
            thread.submit(read).result()
    finally:
        signal.signal(signal.SIGCHLD, handler)
