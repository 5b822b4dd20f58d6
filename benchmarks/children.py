"""Runs contenders in separate processes, so that their memory is separate and they start fresh."""

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from benchmarks.machine import memory_mib
from benchmarks.measure import Run, Unavailable, Variant

_PATIENCE_S = 600.0  # timeout of one answer; compilation takes longest
_END_S = 30.0

Facts = Mapping[str, float | str]


class ChildFailedError(Exception):
    """An unexpected exception in a child process."""


@dataclass(frozen=True)
class Work:
    """The work of a child process.

    Attributes:
        run: the function to time, as in `Variant`.
        facts: returns further results, and is called at the end.
        device: cpu or cuda; determines which memory is measured.
    """

    run: Run
    facts: Callable[[], Facts] = dict
    device: str = "cpu"


class Child:
    """A process that sets up its work once and runs it on request; use it in a `with` block."""

    def __init__(self, name: str, make: Callable[..., Work], *arguments: Any) -> None:
        """Start the process, and wait until its work is set up.

        Args:
            name: name of the contender.
            make: sets up the work in the child; must be a top-level function of a module.
            arguments: arguments of `make`.

        Raises:
            Unavailable: the contender cannot be measured here, or its process died.
            ChildFailedError: `make` raised another exception; the message is the child's traceback.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments), daemon=True, name=name
        )
        self._process.start()
        theirs.close()
        self.variant = Variant(name, self._run)
        try:
            self._answer()
        except BaseException:
            self._stop()
            raise

    def _run(self) -> float:
        self._pipe.send("run")
        seconds: float = self._answer()
        return seconds

    def end(self) -> tuple[Facts, float]:
        """End the process; returns the facts of its work, and its peak memory in MiB."""
        self._pipe.send("end")
        facts: Facts
        facts, peak = self._answer()
        self._process.join(_END_S)
        return facts, peak

    def _answer(self) -> Any:
        try:
            if not self._pipe.poll(_PATIENCE_S):
                raise Unavailable(f"no answer for {_PATIENCE_S:g} s")
            unavailable, fault, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise Unavailable(
                f"its process died (status {self._process.exitcode}); out of memory?"
            ) from None
        if unavailable:
            raise Unavailable(unavailable)
        if fault:
            raise ChildFailedError(f"in {self.variant.name}:\n{fault}")
        return answer

    def __enter__(self) -> "Child":
        """Return the child, whose process is already running."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it is still running."""
        self._stop()

    def _stop(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join(_END_S)
        self._pipe.close()


def _serve(pipe: Connection, make: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    """Run in the child: set up the work, then run it until the parent asks for the end."""
    try:
        work = make(*arguments)
        settle = settler(work.device)
        pipe.send(("", "", None))
        while pipe.recv() == "run":
            settle()
            began = time.perf_counter()
            said = work.run()
            settle()
            took = time.perf_counter() - began
            pipe.send(("", "", took if said is None else said))
        pipe.send(("", "", (dict(work.facts()), _peak_mib(work.device))))
    except (EOFError, KeyboardInterrupt):
        return  # the parent has died, or the user has interrupted both processes
    except Unavailable as error:
        pipe.send((str(error), "", None))
    except Exception:  # the parent reports it
        pipe.send(("", traceback.format_exc(), None))


def settler(device: str) -> Callable[[], None]:
    """Return a function that waits until a device has finished its work."""
    if device != "cuda":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def _peak_mib(device: str) -> float:
    if device != "cuda":
        return memory_mib()
    import torch

    return torch.cuda.max_memory_allocated() / 2**20
