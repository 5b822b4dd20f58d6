"""Which photographs are taken: decided by their order, their looks and their addresses."""

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from colorgan.data import selection as selecting
from colorgan.data.examination import Chunk, ExaminationConfig, Facts, perceptual_hash
from colorgan.data.groups import Dropped, Group
from colorgan.data.selection import LARGEST_DISTANCE, Selection

CHECKS = ExaminationConfig()


def facts(name: str, bits: int | None = None, content: str = "", **more: str) -> Facts:
    """A photograph; its looks are those of its name, or the number that is given."""
    sha256 = hashlib.sha256((content or name).encode()).hexdigest()
    looks = int(sha256, 16) if bits is None else bits
    return Facts(
        **{"number": 0, "label": "cats", "split": "train", "source": name, "licence": ""} | more,
        sha256=sha256,
        look=looks.to_bytes(32, "big"),
        bytes=10,
    )


def piece(key: str, *found: Facts) -> Chunk:
    """A piece of candidates in this order, its file in the order of pieces."""
    numbered = [{**vars(each), "number": number} for number, each in enumerate(found)]
    order = ["train", "val", "test"]
    numbered.sort(key=lambda each: (bool(each["reason"]), order.index(each["split"])))
    return Chunk(0, key, (), CHECKS, pa.Table.from_pylist(numbered))


def select(
    groups: Sequence[Sequence[Chunk]], wanted: int, bits: int, downloads: bool
) -> tuple[Selection, list[int]]:
    """Select of groups of one source."""
    drawn = [
        Group(0, "", None, (), CHECKS, iter(()), downloads, wanted or None, [*group])
        for group in groups
    ]
    selection, filled, _ = selecting.select(drawn, bits)
    return selection, filled


def chosen(selection: Selection) -> list[tuple[str, int, int]]:
    places = [place for group in selection.kept.values() for place in group]
    return [(place.piece, place.group, place.row) for place in places]


def reasons(selection: Selection) -> dict[str, str]:
    return {drop.source: drop.reason for drop in selection.dropped}


def differing(value: int, bits: int) -> int:
    """The value with so many of its 256 bits changed."""
    for bit in random.Random(bits).sample(range(256), bits):
        value ^= 1 << bit
    return value


def test_photographs_are_found_at_their_places_in_the_pieces() -> None:
    first = piece(
        "p",
        facts("a", split="test"),
        facts("b", reason="gone", detail="status 404"),
        facts("c"),
        facts("d", split="test"),
        facts("e"),
    )
    selection, filled = select([[first]], 0, LARGEST_DISTANCE, False)
    # The file holds c and e for train in its first group, a and d for test in its second.
    assert chosen(selection) == [("p", 1, 0), ("p", 1, 1), ("p", 0, 0), ("p", 0, 1)]
    assert filled == [4]
    assert selection.dropped == [Dropped("b", "cats", "gone", "status 404")]


def test_the_first_are_taken_and_the_others_spare() -> None:
    pieces = [piece("p", facts("a"), facts("b", reason="gone")), piece("q", facts("c"), facts("d"))]
    selection, filled = select([pieces], 2, LARGEST_DISTANCE, False)
    assert chosen(selection) == [("p", 0, 0), ("q", 0, 0)]
    assert (filled, selection.spare) == ([2], {"cats": 1})


def test_the_same_content_is_taken_once_in_all_groups() -> None:
    one = piece("p", facts("a"), facts("b", content="a"))
    two = piece("q", facts("c", content="a", label="dogs"), facts("d", label="dogs"))
    selection, filled = select([[one], [two]], 0, LARGEST_DISTANCE, False)
    assert reasons(selection) == {"b": "duplicate", "c": "duplicate"}
    assert filled == [1, 1]


def test_a_spare_photograph_is_nobodys_duplicate() -> None:
    one = piece("p", facts("a"), facts("b"))
    two = piece("q", facts("c", content="b", label="dogs"))
    selection, _ = select([[one], [two]], 1, LARGEST_DISTANCE, False)
    assert chosen(selection) == [("p", 0, 0), ("q", 0, 0)]


def test_a_picture_at_three_addresses_is_no_photograph_where_things_are_downloaded() -> None:
    pieces = [piece("p", *(facts(name, content="gone") for name in "abc"), facts("d"))]
    online, _ = select([pieces], 0, LARGEST_DISTANCE, True)
    assert reasons(online) == dict.fromkeys("abc", "placeholder")
    here, _ = select([pieces], 0, LARGEST_DISTANCE, False)
    assert reasons(here) == dict.fromkeys("bc", "duplicate")


def test_looks_as_near_as_was_said_are_one_and_no_others() -> None:
    base = random.Random(0).getrandbits(256)
    for allowed in (-1, 0, 7, LARGEST_DISTANCE):
        near = facts("near", differing(base, max(allowed, 0)))
        far = facts("far", differing(base, allowed + 1 + (allowed < 0)))
        for other, dropped in ((near, allowed >= 0), (far, False)):
            selection, _ = select([[piece("p", facts("a", base), other)]], 0, allowed, False)
            assert reasons(selection) == ({other.source: "near-duplicate"} if dropped else {})


def test_no_pair_that_is_near_is_missed() -> None:
    """The bands find what comparing all with all finds."""
    rng = random.Random(1)
    bases = [rng.getrandbits(256) for _ in range(20)]
    values = [differing(rng.choice(bases), rng.randint(0, 24)) for _ in range(300)]
    kept: list[int] = []
    for value in values:
        if all((value ^ other).bit_count() > LARGEST_DISTANCE for other in kept):
            kept.append(value)
    pieces = [piece("p", *(facts(str(n), value) for n, value in enumerate(values)))]
    selection, (count,) = select([pieces], 0, LARGEST_DISTANCE, False)
    assert [place.row for place in selection.kept["cats", "train"]] == [
        values.index(value) for value in kept
    ]
    assert count == len(kept) < 300


def test_where_photographs_come_from_is_counted() -> None:
    found = [
        facts("http://user:word@photos.example/1.jpg", licence="CC BY"),
        facts("http://photos.example:8080/2.jpg"),
        facts("/data/cats/3.jpg", licence="CC BY"),
        facts("n02084071.tar/n02084071_1.JPEG"),
        facts("scenes:cats/4"),
    ]
    selection, _ = select([[piece("p", *found)]], 0, LARGEST_DISTANCE, False)
    assert selection.origins == {
        "photos.example": 2,
        "/data/cats": 1,
        "n02084071.tar": 1,
        "scenes": 1,
    }
    assert selection.licences == {"CC BY": 2}


def test_looks_survive_what_is_done_to_copies_and_tell_photographs_apart() -> None:
    rng = np.random.default_rng(0)

    def picture() -> Image.Image:
        cells = rng.integers(0, 256, (18, 24, 3), dtype=np.uint8)
        return Image.fromarray(cells).resize((480, 360), Image.Resampling.BICUBIC)

    def distance(one: Image.Image, other: Image.Image) -> int:
        a, b = (int.from_bytes(perceptual_hash(each), "big") for each in (one, other))
        return (a ^ b).bit_count()

    original = picture()
    half = original.resize((240, 180), Image.Resampling.LANCZOS)
    assert distance(original, half) <= LARGEST_DISTANCE
    assert distance(original, picture()) > 4 * LARGEST_DISTANCE


@pytest.mark.parametrize("short", [90, 127, 128, 200, 256, 257, 286, 384, 700])
def test_looks_are_near_at_any_size(short: int) -> None:
    cells = np.random.default_rng(1).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    original = Image.fromarray(cells).resize((480, 360), Image.Resampling.BICUBIC)
    other = original.resize((short * 4 // 3, short), Image.Resampling.LANCZOS)
    a, b = (int.from_bytes(perceptual_hash(each), "big") for each in (original, other))
    assert (a ^ b).bit_count() <= LARGEST_DISTANCE
