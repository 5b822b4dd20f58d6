"""What became of the photographs of an archive: counts, failed.csv, summary.json."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from colorgan.archives.destination import Destination
from colorgan.archives.listing import STANDARD
from colorgan.archives.steps import Outcome
from colorgan.training.progress import format_seconds

FAILED = "failed.csv"
SUMMARY = "summary.json"
_SETTLING_S = 5.0  # after the first outcome, those that were begun together have ended
_COLUMNS = ("path", "reason", "detail")


class Tally:
    """Counts outcomes.

    Attributes:
        total: number of photographs to colour, without those whose output existed.
        skipped: number of photographs whose output existed.
        colored: number of photographs coloured so far.
        failures: path, reason and detail of each photograph that was not coloured.
        repeatable: number of failures that may succeed when tried again.
        classes: number of coloured photographs by class.
        stages: seconds of each step, summed over the photographs.
    """

    def __init__(self, total: int, skipped: int = 0) -> None:
        """Begin to count, now."""
        self.total = total
        self.skipped = skipped
        self.colored = 0
        self.failures: list[tuple[str, str, str]] = []
        self.repeatable = 0
        self.classes: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()
        self.started = time.time()
        self._began = time.monotonic()
        self._first: float | None = None  # seconds until the first outcome
        self._settled: tuple[float, int] | None = None  # from when on the rate counts, and `done`

    def add(self, outcome: Outcome) -> None:
        """Count what became of a photograph."""
        if self._first is None:
            self._first = self.seconds
        for step, seconds in outcome.seconds.items():
            self.stages[step] += seconds  # type: ignore[assignment] # a Counter of seconds
        if outcome.failure:
            address = outcome.item.photo.address
            name = "stdin" if address == STANDARD else address
            self.failures.append((name, outcome.failure.reason, outcome.failure.detail))
            self.repeatable += not outcome.failure.of_the_file
        else:
            self.colored += 1
            self.classes[outcome.photo_class] += 1
        if self._settled is None and self.seconds - self._first > _SETTLING_S:
            self._settled = self.seconds, self.done

    def leave(self) -> None:
        """Count a photograph whose output another process has written in the meantime."""
        self.total -= 1
        self.skipped += 1

    @property
    def done(self) -> int:
        """Number of photographs that are coloured or have failed."""
        return self.colored + len(self.failures)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Photographs a second in all, with the time to start processes."""
        return self.done / self.seconds if self.done and self.seconds > 0 else 0.0

    def progress(self) -> str:
        """How far it is, how fast by now, and the time to the end, in words."""
        rate = self._present_rate()
        words = f"{self.done:,} of {self.total:,} photographs, {rate:.1f} a second"
        if rate and self.done < self.total:
            words += f", {format_seconds((self.total - self.done) / rate)} to go"
        return words + (f", {len(self.failures):,} failed" if self.failures else "")

    def _present_rate(self) -> float:
        """Photographs a second without the start.

        Processes send their first photographs together, after they have worked on them for a while,
        so these say nothing about the rate.
        """
        if self._settled:
            since, before = self._settled
            if self.seconds - since > _SETTLING_S and self.done > before:
                return (self.done - before) / (self.seconds - since)
        return self.rate

    def sentence(self) -> str:
        """The outcome in one line."""
        classes = ", ".join(f"{count:,} {name}" for name, count in self.classes.most_common())
        reasons = Counter(reason for _, reason, _ in self.failures).most_common()
        words = f"coloured {self.colored:,} of {self.total:,} photographs"
        words += f" ({classes})" * bool(classes)
        words += f" in {format_seconds(self.seconds)}, {self.rate:.1f} a second"
        if self.skipped:
            words += f"; skipped {self.skipped:,} whose output exists"
        if reasons:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
            words += f"; failed {len(self.failures):,}: {listed}"
        return words

    def summary(self, about: Mapping[str, Any]) -> bytes:
        """The content of summary.json: `about`, and what was counted."""
        document = {
            **about,
            "photographs": self.total + self.skipped,
            "colored": self.colored,
            "skipped": self.skipped,
            "failed": len(self.failures),
            "classes": dict(self.classes.most_common()),
            "failures": dict(Counter(reason for _, reason, _ in self.failures).most_common()),
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "start_seconds": round(self._first or 0.0, 3),
            "photographs_per_second": round(self.rate, 3),
            "stages": {step: round(seconds, 3) for step, seconds in self.stages.items()},
        }
        return (json.dumps(document, indent=2) + "\n").encode()

    def write_failures(self, destination: Destination) -> bool:
        """Write failed.csv, sorted by path, and return whether it was written.

        Without a failure, only the file of an earlier start is replaced. A file of another origin
        is left alone.

        Raises:
            ColorganError: it cannot be written.
        """
        before = destination.read(FAILED)
        if before is None and not self.failures:
            return False
        if before is not None and not before.startswith(",".join(_COLUMNS).encode()):
            return False
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(sorted(self.failures))
        # Undecodable bytes of a name are kept: Python and `colorize @LIST` read them back.
        data = table.getvalue().encode("utf-8", "surrogateescape")
        destination.write(FAILED, data, overwrite=True)
        return True
