"""Unit costs of the model of scale (benchmarks/scale_model.py), measured on one core.

    python -m benchmarks.scale_model --measure [--photos FOLDER] [--costs FILE]

All seconds are processor time of one thread, which work beside it hardly changes. Photographs of
500 x 375 and 4000 x 3000 pixels are drawn scenes, encoded as JPEG. Bytes of shards are of the
photographs in --photos, because drawn scenes compress differently.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import photographs
from benchmarks.face import Settings, note
from benchmarks.scale_tables import COMMAND
from colorgan.archives.destination import open_destination
from colorgan.archives.listing import Photo
from colorgan.archives.networks import ModelChoice, Networks, Squares, choose_models
from colorgan.archives.reading import Reader
from colorgan.archives.steps import Item, Loaded, finish, load
from colorgan.archives.steps import Settings as ArchiveSettings
from colorgan.data.batches import JITTER, PhotoBank
from colorgan.data.dataset import SPLITS, Dataset, open_dataset
from colorgan.data.sources import FolderSource
from colorgan.data.squares import Selection
from colorgan.data.staging import StagingConfig, stage
from colorgan.data.streams import PhotoStream
from colorgan.images.decoding import decode, resize_square
from colorgan.images.writing import OutputOptions
from colorgan.packages.embedded import EMBEDDED_MODELS
from colorgan.storage import open_storage
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.presets import PRESETS

CPU = torch.device("cpu")
_GIGA = 1e9


@dataclass(frozen=True)
class Cost:
    """A number of the model.

    Attributes:
        value: the number.
        unit: its unit.
        what: what it is the cost of.
        source: the command, benchmark or document that it comes from.
        assumed: whether it was not measured.
    """

    value: float
    unit: str
    what: str
    source: str
    assumed: bool = False


def measure(settings: Settings) -> dict[str, dict[str, Any]]:
    """Measure every cost that takes about a minute; returns them by name, as in the data file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Cost] = {}
    try:
        with TemporaryDirectory(prefix="colorgan-bench-") as folder:
            for part in (_reading, _report, _best, _archive):
                note(f"  {part.__name__.strip('_')}")
                found |= part(settings, Path(folder))
    finally:
        torch.set_num_threads(threads)
    return {name: asdict(cost) for name, cost in found.items()}


def _cost(value: float, unit: str, what: str) -> Cost:
    return Cost(float(f"{value:.4g}"), unit, what, COMMAND)


def processor_seconds(work: Callable[[], object], settings: Settings) -> float:
    """The least processor time of a call, after one that is not counted."""
    work()
    found: list[float] = []
    ends = time.process_time() + settings.pick(0.0, 0.5, 2.0)
    while not found or time.process_time() < ends:
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def _reading(settings: Settings, folder: Path) -> dict[str, Cost]:
    """Decoding an original, staging it, and what a stream does with the staged photograph."""
    count = settings.pick(8, 48, 400)
    scenes = list(photographs.scenes(count))
    pixels = [decode(data).rgb for data in scenes]
    photographs.write(folder / "scenes" / "all", scenes)
    photographs.write(folder / "photos" / "all", photographs.photographs(settings, count))
    found = {
        "decode": _cost(
            processor_seconds(lambda: [decode(data) for data in scenes], settings) / count,
            "s",
            "decoding a JPEG of 500 x 375",
        ),
        "square": _cost(
            processor_seconds(lambda: [resize_square(each, 286) for each in pixels], settings)
            / count,
            "s",
            "resizing 500 x 375 to the square of 286 px",
        ),
    }
    for side in (256, 286):
        config = StagingConfig(size=side)
        storage = open_storage(str(folder / f"storage{side}"))
        started = time.process_time()
        stage(FolderSource(folder / "scenes"), storage, "scenes", config)
        seconds = (time.process_time() - started) / count
        real = stage(FolderSource(folder / "photos"), storage, "photos", config).dataset
        stored = sum(shard.bytes for shard in real.manifest.shards) / _rows(real)
        found[f"shard_bytes_{side}"] = _cost(
            stored, "bytes", f"bytes of a shard per photograph of {side} px"
        )
    found["stage"] = _cost(seconds, "s", "staging a photograph of 500 x 375")
    staged = open_storage(str(folder / "storage286"))
    for side, crop, name in ((286, 256, "report"), (224, 224, "best")):
        found[f"stream_{name}"] = _cost(
            _streamed(open_dataset(staged, "scenes"), side, crop, settings),
            "s",
            f"reading a staged photograph of 286 px as a stream and cropping it to {crop} px",
        )
    return found


def _rows(dataset: Dataset) -> int:
    return sum(1 for split in SPLITS for _ in dataset.rows(dataset.manifest.classes, split))


def _streamed(dataset: Dataset, side: int, crop: int, settings: Settings) -> float:
    selection = Selection(dataset, dataset.manifest.classes, "train", side)
    stream = PhotoStream(selection, processes=0)

    def epoch() -> None:
        for _ in stream.batches(16, crop, np.random.default_rng(0)):
            pass

    return processor_seconds(epoch, settings) / len(stream)


def _report(settings: Settings, folder: Path) -> dict[str, Cost]:
    config = replace(PRESETS["report"].training, **_narrow(settings))
    return _passes("report", config, settings, "of `report` at 256 px", features=False)


def _best(settings: Settings, folder: Path) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    best = replace(PRESETS["best"].training, start_from="", **_narrow(settings))
    for objective in ("regression", "adversarial"):
        config = replace(best, phases=objective)
        words = f"of `best` at 224 px, {objective}"
        found |= _passes(f"best_{objective}", config, settings, words, features=True)
    return found


def _narrow(settings: Settings) -> dict[str, Any]:
    return settings.pick({"width": 4, "discriminator_width": 4, "size": 64}, {}, {})


def _passes(
    name: str, config: TrainingConfig, settings: Settings, words: str, features: bool
) -> dict[str, Cost]:
    """Processor seconds and FLOP of a photograph in a step, and bytes of the gradients."""
    count = settings.pick(2, 4, 16)
    config = replace(config, batch_size=count, epochs=1000)
    found = {
        f"{name}_pass": _cost(
            _pass_seconds(config, count, "off", settings), "s", f"a pass {words}, steps of {count}"
        )
    }
    if features:
        found[f"{name}_pass_kept"] = _cost(
            _pass_seconds(config, count, "on", settings),
            "s",
            f"a pass {words}, with cached features",
        )
    training = _training(config, count, "off")
    epochs = training.run()
    next(epochs)
    with FlopCounterMode(display=False) as counter:
        next(epochs)
    validation = _validation_flops(training)
    flops = (counter.get_total_flops() - validation) / count
    found[f"{name}_gflop"] = _cost(flops / _GIGA, "GFLOP", f"a pass {words}, with its encoder")
    learned = sum(each.numel() for each in _learned(training))
    found[f"{name}_gradient_bytes"] = _cost(
        4 * learned, "bytes", f"gradients of all networks {words}, float32"
    )
    norms = sum(isinstance(layer, nn.BatchNorm2d) and layer.training for layer in _layers(training))
    found[f"{name}_norms"] = _cost(norms, "layers", f"batch normalisations that learn {words}")
    return found


def _learned(training: Training) -> list[nn.Parameter]:
    """The parameters that the optimisers change."""
    optimizers = [training._adam_g, training._adam_d]
    return [
        parameter
        for optimizer in optimizers
        if optimizer is not None
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _layers(training: Training) -> list[nn.Module]:
    """The layers of the networks that learn, in training mode."""
    learner = training._learner.train()
    return [*learner.modules(), *(training.discriminators or nn.ModuleDict()).modules()]


def _training(config: TrainingConfig, count: int, keep: Literal["on", "off"]) -> Training:
    rng = np.random.default_rng(0)
    side = config.size if config.fixes_encoder("") else round(config.size * JITTER)
    banks = [
        PhotoBank(rng.integers(0, 256, (number, each, each, 3), np.uint8))
        for number, each in ((count, side), (1, config.size))
    ]
    return Training(config, banks[0], banks[1], CPU, SpeedConfig(keep_features=keep))


def _pass_seconds(
    config: TrainingConfig, count: int, keep: Literal["on", "off"], settings: Settings
) -> float:
    training = _training(config, count, keep)
    epochs = training.run()
    with_validation = processor_seconds(lambda: next(epochs), settings)
    validation = processor_seconds(lambda: training.validate(False), settings)
    return max(0.0, with_validation - validation) / count


def _validation_flops(training: Training) -> int:
    with FlopCounterMode(display=False) as counter:
        training.validate(True)
    return int(counter.get_total_flops())


def _archive(settings: Settings, folder: Path) -> dict[str, Cost]:
    """The steps of a photograph of an archive, of two sizes, from a folder to a folder."""
    networks = choose_models(ModelChoice(EMBEDDED_MODELS), None).load(CPU)
    found: dict[str, Cost] = {}
    count = settings.pick(1, 8, 32)
    small = photographs.scenes(count)
    large = [photographs.large_photograph(settings)]
    for name, size, encoded in (
        ("small", "500 x 375", list(small)),
        ("large", "4000 x 3000", large),
    ):
        photographs.write(folder / name, encoded)
        items = [
            Item(Photo(str(path), path.name), f"{path.stem}.out")
            for path in sorted((folder / name).iterdir())
        ]
        found |= _archive_of(name, size, items, networks, folder, settings)
    return found


def _archive_of(
    name: str,
    size: str,
    items: Sequence[Item],
    networks: Networks,
    folder: Path,
    settings: Settings,
) -> dict[str, Cost]:
    destination = open_destination(str(folder / "colored"))
    found: dict[str, Cost] = {}
    for kind in ("png", "jpeg"):
        how = ArchiveSettings(Reader(None), destination, OutputOptions(kind), overwrite=True)
        read = [load(item, how, networks.inputs) for item in items]
        pairs = [each for each in read if isinstance(each, tuple)]
        predicted = networks.predict([squares for _, squares in pairs])

        def finished(
            pairs: Sequence[tuple[Loaded, Squares]] = pairs,
            predicted: Sequence[Any] = predicted,
            how: ArchiveSettings = how,
        ) -> None:
            for (loaded, _), color in zip(pairs, predicted, strict=True):
                finish(loaded, color, how)

        found[f"archive_{name}_{kind}"] = _cost(
            processor_seconds(finished, settings) / len(items),
            "s",
            f"recombining {size}, encoding as {kind.upper()} and writing",
        )
        written = [folder / "colored" / item.target for item in items]
        found[f"archive_{name}_{kind}_bytes"] = _cost(
            sum(path.stat().st_size for path in written) / len(items),
            "bytes",
            f"a coloured {kind.upper()} of {size}",
        )
    found[f"archive_{name}_read"] = _cost(
        processor_seconds(lambda: [load(item, how, networks.inputs) for item in items], settings)
        / len(items),
        "s",
        f"reading and decoding {size}, and the networks' inputs",
    )
    found[f"archive_{name}_bytes"] = _cost(
        sum(Path(item.photo.address).stat().st_size for item in items) / len(items),
        "bytes",
        f"a JPEG of {size}",
    )
    if name == "small":
        squares = [squares for _, squares in pairs]
        found["archive_color"] = _cost(
            processor_seconds(lambda: networks.predict(squares), settings) / len(items),
            "s",
            f"routing and colouring, {len(items)} at once",
        )
        with FlopCounterMode(display=False) as counter:
            networks.predict(squares)
        found["archive_gflop"] = _cost(
            counter.get_total_flops() / len(items) / _GIGA, "GFLOP", "routing and colouring"
        )
    return found
