"""Where a training's photographs come from: memory, or a stream from storage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch

from colorgan.data.batches import LaterBank, PhotoBank, PhotoSource
from colorgan.data.dataset import Dataset
from colorgan.data.squares import Keeping, Selection, read_squares
from colorgan.data.streams import PhotoStream, default_processes
from colorgan.errors import ConfigError
from colorgan.system import memory_bytes
from colorgan.training.config import MEMORY_SHARE, SpeedConfig, TrainingConfig
from colorgan.training.loop import load_banks
from colorgan.training.selection import training_selection, validation_selection
from colorgan.workers import Workers

# The memory that validation photographs may take beside a stream, in bytes. If there are more, each
# validation is on as many as fit, evenly of all classes and always the same ones.
VALIDATION_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Choice:
    """Whether a training streams its photographs, and why.

    Attributes:
        streams: whether it does.
        reason: a sentence for the log.
    """

    streams: bool
    reason: str


def choose_data(
    dataset: Dataset, model: str, config: TrainingConfig, speed: SpeedConfig, memory: int
) -> Choice:
    """Choose between memory and a stream for a model's photographs.

    Args:
        dataset: the dataset.
        model: the model's name.
        config: the training's configuration.
        speed: its `data` is the user's choice.
        memory: the machine's memory in bytes.

    Raises:
        ConfigError: the dataset has no photographs for the model, or the user's choice is a stream,
            and a discriminator needs the classes, which a stream does not give.
    """
    wanted = training_selection(dataset, model, config)
    count = dataset.count(wanted.classes, "train")
    count = min(count, config.photographs or count)
    size = count * wanted.side**2 * 3
    takes = f"{count:,} photographs, {_gib(size)} when decoded"
    if config.uses_labels(model) and speed.data == "stream":
        raise ConfigError(
            "--data stream does not give the class of each photograph, which --discriminators "
            "projection needs: leave out --data, or say --data memory"
        )
    if speed.data != "auto":
        where = "as a stream" if speed.data == "stream" else "into memory"
        return Choice(speed.data == "stream", f"reading {takes}, {where}: --data {speed.data}")
    streams = size > MEMORY_SHARE * memory and not config.uses_labels(model)
    share = f"{MEMORY_SHARE:.0%} of this machine's {_gib(memory)} of memory"
    if streams:
        return Choice(True, f"reading {takes}, as a stream: they are more than {share}")
    if size > MEMORY_SHARE * memory:
        share += ", and a discriminator needs their classes"
        return Choice(False, f"reading {takes}, into memory: they are more than {share}")
    return Choice(False, f"reading {takes}, into memory: they are at most {share}")


# Makes the stream of a selection for a training; None if it has none for this configuration.
StreamSource = Callable[[Selection, TrainingConfig, SpeedConfig], PhotoSource | None]

_source: ContextVar[StreamSource | None] = ContextVar("source", default=None)


@contextmanager
def streams_from(source: StreamSource) -> Iterator[None]:
    """Let trainings in a `with` block take their streams from a source, if it has one for them."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


@dataclass(frozen=True)
class Reading:
    """How the process of a training reads photographs.

    Attributes:
        device: the device to train on.
        observe: see `Keeping.observe`; not called while a stream is read.
        say: receives lines on where the photographs come from, and why.
        memory: the machine's memory in bytes, or the least of all workers'; 0 means this one's.
    """

    device: torch.device
    observe: Callable[[int, int], None] = lambda done, count: None
    say: Callable[[str], None] = lambda line: None
    memory: int = 0


def least_memory(workers: Workers) -> int:
    """The memory in bytes of the worker that has least; all workers of a training must call it."""
    return -workers.greatest(-memory_bytes())


def load_photographs(
    dataset: Dataset, model: str, config: TrainingConfig, speed: SpeedConfig, reading: Reading
) -> tuple[PhotoSource, PhotoBank]:
    """The training and validation photographs of a model, sized for `Training`.

    Args:
        dataset: the dataset.
        model: the model's name.
        config: the training's configuration.
        speed: whether to stream them, and where they may be kept.
        reading: how this process reads them.

    Raises:
        ColorganError: as from `load_banks`.
    """
    choice = choose_data(dataset, model, config, speed, reading.memory or memory_bytes())
    if choice.streams or speed.data != "auto":
        reading.say(choice.reason)
    if not choice.streams:
        return load_banks(dataset, model, config, speed, reading.observe)
    wanted = training_selection(dataset, model, config)
    dataset.check_split(wanted.classes, "train")
    val = validation_bank(dataset, model, config, speed, reading)
    source = _source.get()
    if source and (stream := source(wanted, config, speed)):
        return stream, val
    processes = speed.data_workers or default_processes(reading.device)
    return PhotoStream(wanted, config.balance, processes, speed.scratch), val


def validation_bank(
    dataset: Dataset, model: str, config: TrainingConfig, speed: SpeedConfig, reading: Reading
) -> PhotoBank:
    """The validation photographs beside a stream, read when they are first needed.

    Args:
        dataset: the dataset.
        model: the model's name.
        config: the training's configuration.
        speed: where they may be kept.
        reading: `say` receives a line if these are not all of the split.
    """
    count = dataset.check_split(dataset.model_classes(model), "val")
    most = max(1, VALIDATION_BYTES // (config.size**2 * 3))
    limit = most if count > most else 0
    if limit:
        reading.say(f"validating on {most:,} of {count:,} photographs, evenly of all classes")
    wanted = validation_selection(dataset, model, config, limit)
    keeping = Keeping(int(speed.photo_memory_gib * 2**30), speed.scratch)
    return LaterBank(min(count, most), lambda: read_squares(wanted, keeping))


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
