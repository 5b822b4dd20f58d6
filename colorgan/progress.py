"""Progress of trainings: a live table on a terminal, plain lines anywhere else."""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from colorgan.training import EpochRecord


@dataclass
class _Row:
    epochs: int
    state: str = "waiting"
    fraction: float = 0.0
    seconds: list[float] = field(default_factory=list)
    record: EpochRecord | None = None

    @property
    def done(self) -> int:
        return self.record.epoch if self.record else 0

    def eta(self) -> str:
        """Time to the last epoch, from the latest epochs' own times."""
        if not self.seconds:
            return ""
        recent = self.seconds[-5:]
        left = self.epochs - self.done - (self.fraction if self.state == "training" else 0)
        return format_seconds(max(0.0, left) * sum(recent) / len(recent))


class Progress:
    """Follows several trainings; use it as a context manager."""

    def __init__(self, epochs: dict[str, int], console: Console | None = None) -> None:
        """Name the trainings.

        Args:
            epochs: how many epochs each model is to do.
            console: where to show it; standard output by default.
        """
        self._console = console or Console()
        self._rows = {model: _Row(count) for model, count in epochs.items()}
        self._live = (
            Live(console=self._console, get_renderable=self._table, refresh_per_second=2)
            if self._console.is_terminal
            else None
        )
        self._printed = time.monotonic()

    def __enter__(self) -> "Progress":
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop showing; the table stays as it was last."""
        if self._live:
            self._live.stop()

    def state(self, model: str, state: str, detail: str = "") -> None:
        """Say what became of a model: waiting, starting, training, done, failed."""
        self._rows[model].state = state
        if detail or not self._live:
            self._say(f"{model}: {state}{f' ({detail})' if detail else ''}")

    def step(self, model: str, fraction: float) -> None:
        """Note how much of the current epoch is done."""
        row = self._rows[model]
        row.fraction = fraction
        # Without a terminal a long epoch still shows a sign of life twice a minute.
        if not self._live and time.monotonic() - self._printed > 30:
            self._say(f"{model}: epoch {row.done + 1}/{row.epochs}, {fraction:.0%} done")

    def epoch(self, model: str, record: EpochRecord) -> None:
        """Note a finished epoch."""
        row = self._rows[model]
        row.record, row.fraction = record, 0.0
        row.seconds.append(record.seconds)
        if not self._live:
            self._say(
                f"{model}: epoch {record.epoch}/{row.epochs}, loss D {record.loss_d:.3f} "
                f"G {record.loss_gan:.3f} L1 {record.loss_l1:.4f}, validation L1 "
                f"{record.val_l1:.2f}, PSNR {record.val_psnr:.1f} dB, "
                f"{record.images_per_second:.1f} images/s, ETA {row.eta()}"
            )

    def _say(self, line: str) -> None:
        self._printed = time.monotonic()
        if self._live:
            self._live.console.print(line, highlight=False)
        else:
            # One write a line, at once: the log of a job is followed while it grows.
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def _table(self) -> Table:
        table = Table()
        table.add_column("model")
        table.add_column("state")
        for heading in ("epoch", "loss D", "loss G", "L1", "val L1", "PSNR", "images/s", "ETA"):
            table.add_column(heading, justify="right")
        for model, row in self._rows.items():
            record = row.record
            cells = [""] * 6
            if record:
                cells = [
                    f"{record.loss_d:.3f}",
                    f"{record.loss_gan:.3f}",
                    f"{record.loss_l1:.4f}",
                    f"{record.val_l1:.2f}",
                    f"{record.val_psnr:.1f} dB",
                    f"{record.images_per_second:.1f}",
                ]
            percent = f" +{row.fraction:.0%}" if row.state == "training" else ""
            epoch = f"{row.done}/{row.epochs}{percent}"
            table.add_row(model, row.state, epoch, *cells, row.eta())
        return table


def format_seconds(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
