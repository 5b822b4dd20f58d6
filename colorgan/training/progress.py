"""Progress of trainings: a live table on a terminal, plain lines elsewhere, a record in storage."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from colorgan.errors import NotInStorage
from colorgan.storage import Storage
from colorgan.training.records import EpochRecord

UNDERWAY = ("waiting", "starting", "training", "restarting")  # states of a model that will go on


@dataclass(frozen=True)
class ModelProgress:
    """The progress of a model's training.

    Attributes:
        model: a class, or `general`.
        state: waiting, starting, training, restarting, done, stopped or failed.
        detail: what it waits for, where it trains, what it published, or why it failed.
        epoch: number of epochs done.
        epochs: number of epochs to do in all.
        val_l1: validation L1 after the latest epoch, in Lab units.
        images_per_second: training photographs per second in the latest epoch.
        seconds_left: estimated time to the end of the training.
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
    """The progress of a run.

    Attributes:
        run: the run's name.
        job: Ray's ID of the job that works on it.
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
    """Write a run's progress to storage."""
    line = json.dumps(asdict(progress)) + "\n"
    storage.put(f"runs/{progress.run}/progress.json", line.encode())


def read_progress(storage: Storage) -> list[RunProgress]:
    """The progress of every run in storage that a job on a cluster has worked on."""
    found = []
    for run in storage.folders("runs"):
        try:
            loaded = json.loads(storage.get(f"runs/{run}/progress.json"))
            models = tuple(ModelProgress(**model) for model in loaded.pop("models"))
            found.append(RunProgress(**loaded, models=models))
        except (NotInStorage, ValueError, TypeError, KeyError, AttributeError):
            continue  # no job on a cluster has worked on it, or another version wrote it
    return found


def run_seconds_left(models: Sequence[ModelProgress]) -> float | None:
    """The estimated time to the end of a run; None before the first estimate of a model.

    Models without an estimate are assumed to need as long for an epoch as the others do on average,
    and as many as now to train, or start, at the same time.
    """
    paces = [
        model.seconds_left / (model.epochs - model.epoch)
        for model in models
        if model.seconds_left and model.epochs > model.epoch
    ]
    placed = [model for model in models if model.state in UNDERWAY and model.state != "waiting"]
    if not paces or not placed:
        return None
    pace = sum(paces) / len(paces)
    left = [
        model.seconds_left
        if model.seconds_left is not None
        else pace * (model.epochs - model.epoch)
        for model in models
        if model.state in UNDERWAY
    ]
    return max(max(left), sum(left) / len(placed))


@dataclass
class _Row:
    epochs: int
    begun: int  # number of epochs done before
    state: str = "waiting"
    detail: str = ""
    fraction: float = 0.0
    first: tuple[float, float] | None = None  # when a fraction of the first epoch was done
    seconds: list[float] = field(default_factory=list)
    record: EpochRecord | None = None

    @property
    def done(self) -> int:
        return self.record.epoch if self.record else self.begun

    def seconds_left(self) -> float | None:
        """Estimated time to the end, from the durations of the last five epochs.

        In the first epoch, it is estimated from its first steps.
        """
        recent = self.seconds[-5:]
        if not recent and self.first:
            began, fraction = self.first
            if self.fraction > fraction:
                recent = [(time.monotonic() - began) / (self.fraction - fraction)]
        if not recent:
            return None
        left = self.epochs - self.done - (self.fraction if self.state == "training" else 0)
        return max(0.0, left) * sum(recent) / len(recent)

    def eta(self) -> str:
        """The same as text."""
        left = self.seconds_left()
        return "" if left is None else format_seconds(left)


class Progress:
    """Shows the progress of several trainings; use it as a context manager."""

    def __init__(
        self,
        epochs: Mapping[str, int],
        begun: Mapping[str, int],
        console: Console | None = None,
    ) -> None:
        """Set up a row for each training.

        Args:
            epochs: number of epochs to do, by model.
            begun: number of epochs that a continuing model has done; see `epochs_begun_with`.
            console: where to show the progress; standard output by default.
        """
        self._console = console or Console()
        self._rows = {model: _Row(count, begun[model]) for model, count in epochs.items()}
        self._live = (
            Live(console=self._console, get_renderable=self._table, refresh_per_second=2)
            if self._console.is_terminal
            else None
        )
        self._printed = time.monotonic()

    def __enter__(self) -> "Progress":
        """Start the display."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the display; the table stays as it was last."""
        if self._live:
            self._live.stop()

    def state(self, model: str, state: str, detail: str = "") -> None:
        """Set a model's state: waiting, starting, training, restarting, done, stopped or failed."""
        row = self._rows[model]
        if (row.state, row.detail) == (state, detail):
            return
        row.state, row.detail = state, detail
        if detail or not self._live:
            self.say(f"{model}: {state}{f' ({detail})' if detail else ''}")

    def rows(self) -> list[ModelProgress]:
        """The progress of every training, for the record in storage."""
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
        """Set the fraction of the current epoch that is done."""
        row = self._rows[model]
        row.fraction = fraction
        if row.first is None and not row.seconds and fraction:
            row.first = time.monotonic(), fraction
        # Without a terminal a long epoch still shows a sign of life twice a minute.
        if not self._live and time.monotonic() - self._printed > 30:
            left = row.eta()
            self.say(
                f"{model}: epoch {row.done + 1}/{row.epochs}, {fraction:.0%} done"
                + (f", ETA {left}" if left else "")
            )

    def epoch(self, model: str, record: EpochRecord) -> None:
        """Add a finished epoch."""
        row = self._rows[model]
        row.record, row.fraction, row.first = record, 0.0, None
        row.seconds.append(record.seconds)
        if not self._live:
            self.say(
                f"{model}: epoch {record.epoch}/{row.epochs}, loss D {record.loss_d:.3f} "
                f"G {record.loss_gan:.3f} L1 {record.loss_l1:.4f}, validation L1 "
                f"{record.val_l1:.2f}, colour {format_share(record.val_colorfulness)}, "
                f"PSNR {record.val_psnr:.1f} dB, "
                f"{record.images_per_second:.1f} images/s, "
                f"{record.data_share:.0%} waiting for data, ETA {row.eta()}"
            )

    def say(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        self._printed = time.monotonic()
        if self._live:
            self._live.console.print(line, highlight=False)
        else:
            # One write per line, then a flush: a job's log is followed while it grows.
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
            "data",
            "ETA",
        ):
            table.add_column(heading, justify="right")
        for model, row in self._rows.items():
            record = row.record
            cells = [""] * 8
            if record:
                cells = [
                    f"{record.loss_d:.3f}",
                    f"{record.loss_gan:.3f}",
                    f"{record.loss_l1:.4f}",
                    f"{record.val_l1:.2f}",
                    format_share(record.val_colorfulness),
                    f"{record.val_psnr:.1f} dB",
                    f"{record.images_per_second:.1f}",
                    f"{record.data_share:.0%}",
                ]
            percent = f" +{row.fraction:.0%}" if row.state == "training" else ""
            epoch = f"{row.done}/{row.epochs}{percent}"
            table.add_row(model, row.state, epoch, *cells, row.eta())
        return table


def format_share(colorfulness: float | None) -> str:
    """The colourfulness of colourings, as a share of the originals', as text: 62 %."""
    return "-" if colorfulness is None else f"{100 * colorfulness:.0f} %"


def format_seconds(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
