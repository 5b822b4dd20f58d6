"""The rows of shards, from the pieces that hold them."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from colorgan.data.dataset import SCHEMA
from colorgan.data.examination import _SCHEMA, Facts
from colorgan.data.shards import regrouped, rows_of


def piece(numbers: Sequence[int]) -> pa.Table:
    """Photographs as a piece holds them; every other one has a licence."""
    records = [
        {
            **vars(Facts(number, "cats", "train", f"/photos/{number}", "CC BY" * (number % 2))),
            "sha256": f"{number:064d}",
            "image": bytes([number]) * 5,
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(records, _SCHEMA)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([2], [2]),
        ([3], [3]),
        ([4, 4], [3, 3, 2]),
        ([1, 1, 1, 1], [3, 1]),
        ([10], [3, 3, 3, 1]),
        ([2, 9, 1], [3, 3, 3, 3]),
    ],
)
def test_row_groups_are_as_large_as_was_said_and_in_order(
    sizes: list[int], expected: list[int]
) -> None:
    numbers = iter(range(sum(sizes)))
    tables = [piece([next(numbers) for _ in range(size)]) for size in sizes]
    groups = [rows_of(table) for table in regrouped(tables, 3)]
    assert [len(group) for group in groups] == expected
    sources = [source for group in groups for source in group["source"].to_pylist()]
    assert sources == [f"/photos/{number}" for number in range(sum(sizes))]


def test_the_rows_of_a_shard_are_those_of_its_pieces() -> None:
    joined = pa.concat_tables([piece([4, 5]).slice(1), piece([6])])
    rows = rows_of(joined)
    assert rows.schema.equals(SCHEMA, check_metadata=True)
    assert [
        (row["image"], row["sha256"], row["source"], row["licence"]) for row in rows.to_pylist()
    ] == [
        (
            {"bytes": bytes([number]) * 5, "path": f"{number:064d}.jpg"},
            f"{number:064d}",
            f"/photos/{number}",
            licence,
        )
        for number, licence in ((5, "CC BY"), (6, None))
    ]
