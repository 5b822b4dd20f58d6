"""Progress of trainings: a live table on a terminal, plain lines elsewhere, a record in storage."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from colorgan.errors import NotInStorage
from colorgan.storage import Storage
from colorgan.training.records import EpochRecord


@dataclass(frozen=True)
class ModelProgress:
    """How far a model's training is.

    Attributes:
        model: a class, or `general`.
        state: waiting, starting, training, done, stopped or failed.
        detail: of the state: whom it waits for, where it trains, what it made, why it failed.
        epoch: the last one that is done.
        epochs: that there are to do.
        val_l1: of the last epoch, in Lab units.
        images_per_second: of the last epoch.
        seconds_left: to the last epoch, as it goes now.
    """

    model: str
    state: str
    detail: str
    epoch: int
    epochs: int
    val_l1: float | None
    images_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        run: its name.
        job: Ray's number of the job that works on it.
        started: when that job began, in seconds since the Unix epoch.
        updated: when this was written.
        models: each model's progress.
    """

    run: str
    job: str
    started: float
    updated: float
    models: tuple[ModelProgress, ...]


def write_progress(storage: Storage, progress: RunProgress) -> None:
    """Leave word of how far a run is."""
    line = json.dumps(asdict(progress)) + "\n"
    storage.put(f"runs/{progress.run}/progress.json", line.encode())


def read_progress(storage: Storage) -> list[RunProgress]:
    """How far the runs in storage are that a job of a cluster has worked on."""
    found = []
    for run in storage.folders("runs"):
        try:
            loaded = json.loads(storage.get(f"runs/{run}/progress.json"))
            models = tuple(ModelProgress(**model) for model in loaded.pop("models"))
            found.append(RunProgress(**loaded, models=models))
        except (NotInStorage, ValueError, TypeError, KeyError, AttributeError):
            continue  # not of a cluster's job, or of another version
    return found


@dataclass
class _Row:
    epochs: int
    state: str = "waiting"
    detail: str = ""
    fraction: float = 0.0
    seconds: list[float] = field(default_factory=list)
    record: EpochRecord | None = None

    @property
    def done(self) -> int:
        return self.record.epoch if self.record else 0

    def seconds_left(self) -> float | None:
        """Time to the last epoch, from the latest epochs' own times."""
        if not self.seconds:
            return None
        recent = self.seconds[-5:]
        left = self.epochs - self.done - (self.fraction if self.state == "training" else 0)
        return max(0.0, left) * sum(recent) / len(recent)

    def eta(self) -> str:
        """The same in words."""
        left = self.seconds_left()
        return "" if left is None else format_seconds(left)


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
        """Say what became of a model: waiting, starting, training, done, stopped, failed."""
        row = self._rows[model]
        if (row.state, row.detail) == (state, detail):
            return
        row.state, row.detail = state, detail
        if detail or not self._live:
            self._say(f"{model}: {state}{f' ({detail})' if detail else ''}")

    def rows(self) -> list[ModelProgress]:
        """How far every training is, for a record that others read."""
        return [
            ModelProgress(
                model=model,
                state=row.state,
                detail=row.detail,
                epoch=row.done,
                epochs=row.epochs,
                val_l1=row.record.val_l1 if row.record else None,
                images_per_second=row.record.images_per_second if row.record else None,
                seconds_left=row.seconds_left(),
            )
            for model, row in self._rows.items()
        ]

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
                f"{record.val_l1:.2f}, colour {share_in_words(record.val_colorfulness)}, "
                f"PSNR {record.val_psnr:.1f} dB, "
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
        for heading in (
            "epoch",
            "loss D",
            "loss G",
            "L1",
            "val L1",
            "colour",
            "PSNR",
            "images/s",
            "ETA",
        ):
            table.add_column(heading, justify="right")
        for model, row in self._rows.items():
            record = row.record
            cells = [""] * 7
            if record:
                cells = [
                    f"{record.loss_d:.3f}",
                    f"{record.loss_gan:.3f}",
                    f"{record.loss_l1:.4f}",
                    f"{record.val_l1:.2f}",
                    share_in_words(record.val_colorfulness),
                    f"{record.val_psnr:.1f} dB",
                    f"{record.images_per_second:.1f}",
                ]
            percent = f" +{row.fraction:.0%}" if row.state == "training" else ""
            epoch = f"{row.done}/{row.epochs}{percent}"
            table.add_row(model, row.state, epoch, *cells, row.eta())
        return table


def share_in_words(colorfulness: float | None) -> str:
    """The colourfulness of colourings, as a share of that of the originals: 62 %."""
    return "-" if colorfulness is None else f"{100 * colorfulness:.0f} %"


def format_seconds(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
