"""Contenders in processes of their own: their memory is their own, and they start fresh."""

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

_PATIENCE_S = 600.0  # for one answer; compiling takes the longest
_END_S = 30.0

Facts = Mapping[str, float | str]


class ChildFailedError(Exception):
    """A child's fault."""


@dataclass(frozen=True)
class Work:
    """What a child does.

    Attributes:
        run: as a Variant's.
        facts: what it has found, asked for at the end.
        device: `cuda` where its memory is a GPU's.
    """

    run: Run
    facts: Callable[[], Facts] = dict
    device: str = "cpu"


class Child:
    """A process that makes its work once and does it when it is told. Use it in a `with`."""

    def __init__(self, name: str, make: Callable[..., Work], *arguments: Any) -> None:
        """Start the process, and wait until the work is made.

        Args:
            name: the contender's.
            make: makes the work, in the child; a function at the top of a module.
            arguments: of `make`.

        Raises:
            Unavailable: it says so itself, or its process has died.
            ChildFailedError: it has a fault; the message is the child's traceback.
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
        """What the work has found, and the most memory that the process has had, in MiB."""
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
        """Nothing: the process runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it runs still."""
        self._stop()

    def _stop(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join(_END_S)
        self._pipe.close()


def _serve(pipe: Connection, make: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    """The child's life."""
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
        return  # the parent is gone, or ends everything
    except Unavailable as error:
        pipe.send((str(error), "", None))
    except Exception:  # whatever it is, the parent tells it
        pipe.send(("", traceback.format_exc(), None))


def settler(device: str) -> Callable[[], None]:
    """What waits until a device has nothing to do."""
    if device != "cuda":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def _peak_mib(device: str) -> float:
    if device != "cuda":
        return memory_mib()
    import torch

    return torch.cuda.max_memory_allocated() / 2**20
