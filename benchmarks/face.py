"""The command line of all benchmarks: their options, their table and their JSON."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.measure import Result, Rounds, Unavailable
from colorgan.commands.process import guarded
from colorgan.commands.text import print_table
from colorgan.errors import ColorganError
from colorgan.files import Input, check_outputs, write_file
from colorgan.system import about_machine

Choice = TypeVar("Choice")

LATE = "this machine is too slow for it in the time; --full measures it"

_SECONDS = 20.0  # duration of a case at the default scale


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        scale: quick (seconds, to check that a benchmark works), default or full.
        device: auto, cpu or cuda.
        photos: a folder of photographs; None for drawn scenes.
        until: time after which optional measurements are skipped, on the time.monotonic clock.
    """

    scale: str = "default"
    device: str = "auto"
    photos: Path | None = None
    until: float = math.inf

    def pick(self, quick: Choice, default: Choice, full: Choice) -> Choice:
        """The value that belongs to the scale."""
        return {"quick": quick, "default": default, "full": full}[self.scale]

    def within(self, seconds: float) -> "Settings":
        """A copy for a benchmark that should take at most `seconds` at the default scale."""
        end = self.pick(math.inf, time.monotonic() + seconds, math.inf)
        return replace(self, until=min(self.until, end))

    def late(self) -> bool:
        """Whether the time has run out, so that a slow machine measures less."""
        return time.monotonic() > self.until

    def rounds(self, seconds: float = _SECONDS) -> Rounds:
        """How long to measure a case: about `seconds` at the default scale."""
        return self.pick(
            Rounds(1, 1, turn=0.0), Rounds(7, 3, seconds), Rounds(15, 5, 4 * seconds, turn=0.5)
        )

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda`; raises Unavailable if --device cuda is given and there is no GPU."""
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("--device cuda: PyTorch finds no GPU here")
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return "cuda" if cuda else "cpu"


Benchmark = Callable[[Settings], Sequence[Result]]


@dataclass
class Report:
    """The contents of the JSON file.

    Attributes:
        scale: quick, default or full.
        machine: the machine, the versions and the commit.
        seconds: duration of each benchmark, by name.
        results: the rows of the table.
        failed: the reason why a benchmark could not be run, by name.
    """

    scale: str
    machine: dict[str, Any] = field(default_factory=about_machine)
    seconds: dict[str, float] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path, overwrite: bool) -> None:
        """Write the report to a file; raises NotWritten."""
        write_file(path, (json.dumps(asdict(self), indent=2) + "\n").encode(), overwrite)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks share."""
    scale = parser.add_mutually_exclusive_group()
    for name, help in (
        ("quick", "the smallest sizes, once: to see that it works, not to measure"),
        ("full", "every size, more rounds: an hour on two cores"),
    ):
        scale.add_argument(
            f"--{name}",
            dest="scale",
            action="store_const",
            const=name,
            default="default",
            help=help,
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs to use (default: drawn scenes)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings given on the command line."""
    return Settings(args.scale, args.device, args.photos)


def main_of(name: str, run: Benchmark, doc: str | None, argv: Sequence[str] | None = None) -> int:
    """Run `python -m benchmarks.NAME`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    args = parser.parse_args(argv)
    return run_all({name: lambda: run}, settings_of(args), args.json, args.overwrite)


def run_all(
    benchmarks: Mapping[str, Callable[[], Benchmark]],
    settings: Settings,
    path: Path | None,
    overwrite: bool = False,
    inputs: Sequence[Input] = (),
) -> int:
    """Run benchmarks, print their table and write their JSON; returns the exit status.

    Args:
        benchmarks: a function by name that imports each benchmark just before it runs.
        settings: how to measure.
        path: path of the JSON file, which is written after every benchmark, so that an interrupted
            run keeps its results.
        overwrite: whether to replace an existing file.
        inputs: files that are read, which are never replaced.
    """

    def run() -> int:
        if path:
            check_outputs([path], inputs, overwrite, new_folders=True)
        return _run_all(benchmarks, settings, path, overwrite)

    return guarded(run)


def _run_all(
    benchmarks: Mapping[str, Callable[[], Benchmark]],
    settings: Settings,
    path: Path | None,
    overwrite: bool,
) -> int:
    report = Report(settings.scale)
    for name, load in benchmarks.items():
        note(f"{name} …")
        began = time.monotonic()
        try:
            report.results += load()(settings)
        except KeyboardInterrupt:
            report.failed[name] = "interrupted"
            break
        except Exception as error:  # the failure of one benchmark must not lose other results
            known = isinstance(error, Unavailable | ColorganError)
            report.failed[name] = str(error) if known else f"{type(error).__name__}: {error}"
            note(f"{name} failed: {report.failed[name]}")
        finally:
            report.seconds[name] = round(time.monotonic() - began, 1)
            if path:
                report.write(path, overwrite)
                overwrite = True  # from now on, the file is this run's own
        note(f"{name}: {report.seconds[name]:.0f} s")
    print_report(report)
    return 1 if report.failed else 0


def left_out(benchmark: str, case: str, reason: str, variant: str = "colorgan") -> Result:
    """A row for a contender that was not measured."""
    return Result(benchmark, case, variant, None, "", facts={"not measured": reason})


def note(line: str) -> None:
    """Print a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def print_report(report: Report) -> None:
    """Print the machine, the table and the failures."""
    machine = report.machine
    commit = (machine["commit"] or "no commit")[:12] + (" and changes" if machine["dirty"] else "")
    bits = ", ".join(machine["flags"])
    print(
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores ({bits}), "
        f"{machine['threads']} threads, torch {machine['versions'].get('torch')}, colorgan "
        f"{machine['versions']['colorgan']} at {commit}, load {machine['load']}, {machine['date']}"
    )
    print_results(report.results)
    for name, reason in report.failed.items():
        print(f"{name}: not measured: {reason}")
    if report.seconds:
        print(f"{sum(report.seconds.values()):.0f} s in all")


def print_results(results: Sequence[Result]) -> None:
    """Print the table; a benchmark and a case are named only in their first row."""
    rows, last = [], ("", "")
    for result in results:
        place = (result.benchmark, result.case)
        rows.append(
            (
                result.benchmark if place[0] != last[0] else "",
                result.case if place != last else "",
                result.variant,
                "-" if result.value is None else f"{_short(result.value)} {result.unit}",
                str(result.ratio or ""),
                f"{result.peak_mib:.0f} MiB" if result.peak_mib else "",
                ", ".join(f"{name}: {_fact(value)}" for name, value in result.facts.items()),
            )
        )
        last = place
    headings = ("benchmark", "case", "contender", "median", "speed-up", "peak", "")
    print_table(headings, rows)


def _fact(value: float | str) -> str:
    return value if isinstance(value, str) else _short(value)


def _short(value: float) -> str:
    """A number with three significant digits, and always all digits before the point."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
