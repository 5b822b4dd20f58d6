"""Tables on terminals of several widths, and elsewhere."""

import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from colorgan.cli import main
from colorgan.commands.text import print_table
from colorgan.data.dataset import Dataset
from colorgan.storage import lease
from colorgan.storage.lease import find_lease
from tests.lease_holder import MONDAY
from tests.waiting import wait_until

HEADINGS = ("model", "dataset", "learned by", "quality")
ROW = (
    "animals@embedded-1",
    "landscapes",
    "L1 (weight 100), an adversary on semantic maps",
    "L1 9.38",
)
LONGEST = len("  ".join(ROW))


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[list[str]]:
    """Standard output as a terminal of some columns; the lines that it has shown at the end."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown: list[str] = []
    with os.fdopen(theirs, "w", encoding="utf-8") as output, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", output)
        yield shown
    data = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while some := os.read(ours, 1 << 16):
            data += some
    os.close(ours)
    shown += data.decode().splitlines()


@pytest.mark.parametrize(
    ("columns", "row", "changed"),
    [
        (0, ROW, ""),  # a terminal that does not know its size
        (LONGEST, ROW, ""),
        (LONGEST - 10, (*ROW[:2], "L1 (weight 100), an adversary on se…", ROW[3]), "learned by"),
        (LONGEST - 30, (*ROW[:2], "L1 (weight 100)…", ROW[3]), "learned by"),
        (LONGEST - 31, (*ROW[:2], ROW[3]), "learned by"),
        (28, (ROW[0], ROW[3]), "learned by, dataset"),
        (9, (ROW[0], ROW[3]), "learned by, dataset"),
    ],
)
def test_a_table_fits_its_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
    row: tuple[str, ...],
    changed: str,
) -> None:
    with terminal(monkeypatch, columns) as shown:
        print_table(HEADINGS, [ROW], ("learned by", "dataset"))
    assert shown[1].split("  ") == [*row[:1], *(cell for cell in row[1:])]
    said = f"note: this terminal is too narrow for {changed}: --wide prints all\n"
    assert capsys.readouterr().err == (said if changed else "")


def test_without_a_terminal_a_table_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADINGS, [ROW], ("learned by", "dataset"))
    assert "  ".join(ROW) in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["models"], ["models", "list", "--all"], ["datasets"], ["jobs"]]
)
def test_lists_fit_80_columns_and_are_wide_if_asked(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    storage = scenes.storage
    monkeypatch.delenv("COLORGAN_PRETRAINED", raising=False)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setattr(lease, "RENEWAL_S", 0.05)
    with lease.hold(storage, MONDAY, "run 'monday'", "wait") as held:
        held.wait_for("1 CPU, and for its place in the queue of the cluster")
        wait_until(lambda: (found := find_lease(storage, MONDAY)) and found.waits_for)
        with terminal(monkeypatch, 80) as shown:
            assert main([*command, "--storage", storage.uri]) == 0
        with terminal(monkeypatch, 80) as wide:
            assert main([*command, "--wide", "--storage", storage.uri]) == 0
    table, whole = (
        [line for line in lines if not line.startswith("no model in")] for lines in (shown, wide)
    )
    assert len(table) == len(whole) >= 2
    assert max(map(len, table)) <= 80 < max(map(len, whole))
    assert not any("…" in line for line in whole)
