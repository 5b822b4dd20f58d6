"""The results of a run that trained several models: its summary.json and a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from colorgan.names import ROUTER
from colorgan.storage import Storage, retry_transient
from colorgan.training.progress import format_seconds, format_share
from colorgan.training.runs import HeadResult, ModelResult

_HEADINGS = (
    *("model", "status", "photographs", "epochs", "time", "device", "images/s"),
    *("val L1", "PSNR", "colour", "package"),
)


@dataclass(frozen=True)
class RunSummary:
    """The results of a run.

    Attributes:
        run: the run's name.
        wall_seconds: time from the start of the job to its end.
        models: each model's result.
        router: the result of the router's head; None if none was trained.
    """

    run: str
    wall_seconds: float
    models: Sequence[ModelResult]
    router: HeadResult | None = None

    @property
    def sum_seconds(self) -> float:
        """The sum of the models' own training times."""
        return sum(result.seconds or 0 for result in self.models)

    @property
    def times(self) -> str:
        """A sentence about the run's wall time and the models' own times."""
        return (
            f"{format_seconds(self.wall_seconds)} of wall time; the models' own times add up to "
            f"{format_seconds(self.sum_seconds)}"
        )

    @property
    def stopped(self) -> bool:
        """Whether any training was stopped before its end."""
        return any(result.status == "stopped" for result in self._outcomes.values())

    @property
    def packages(self) -> list[str]:
        """The packages that the run has published, as `model@version`."""
        return [result.package for result in self._outcomes.values() if result.package]

    @property
    def failures(self) -> list[str]:
        """A sentence for every training that failed."""
        return [
            f"{name} failed: {result.error}"
            for name, result in self._outcomes.items()
            if result.status == "failed"
        ]

    @property
    def _outcomes(self) -> dict[str, ModelResult | HeadResult]:
        head = {ROUTER: self.router} if self.router else {}
        return {**{result.model: result for result in self.models}, **head}

    def write(self, storage: Storage) -> str:
        """Write runs/<run>/summary.json; returns its key."""
        document = {
            "run": self.run,
            "wall_seconds": self.wall_seconds,
            "sum_seconds": self.sum_seconds,
            "models": [asdict(result) for result in self.models],
            "router": asdict(self.router) if self.router else None,
        }
        key = f"runs/{self.run}/summary.json"
        data = (json.dumps(document, indent=2) + "\n").encode()
        retry_transient(lambda: storage.put(key, data))
        return key

    def table(self) -> Table:
        """A table with one row per model."""
        table = Table(*_HEADINGS)
        for result in self.models:
            table.add_row(*_cells(result))
        return table


def _cells(result: ModelResult) -> list[str]:
    if not result.epochs:
        return [result.model, result.status]
    return [
        result.model,
        result.status,
        str(result.photographs),
        str(result.epochs),
        format_seconds(result.seconds or 0),
        str(result.device),
        f"{result.images_per_second:.1f}",
        f"{result.val_l1:.2f}",
        f"{result.val_psnr:.1f} dB",
        format_share(result.val_colorfulness),
        result.package or "",
    ]
