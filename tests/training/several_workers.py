"""A training by several workers: `torchrun -m tests.training.several_workers` writes its record."""

import gc
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.features import look_once
from colorgan.names import BASELINES
from colorgan.storage import open_storage
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.model_run import train_model
from colorgan.training.presets import find_preset
from colorgan.training.runs import ModelRun
from colorgan.workers import ALONE, Workers, current_workers
from tests.data.test_features import Eyes, numbered
from tests.training.test_phases import bank

CPU = torch.device("cpu")
FLOAT32 = SpeedConfig(precision="float32")
SIZES = {"width": 4, "discriminator_width": 4, "epochs": 2}

# 21 photographs: the last step of an epoch has a single one, and one of two workers has none.
TRAIN, VAL = 21, 5


def report() -> TrainingConfig:
    """The preset `report` at a small size; two epochs of eleven steps."""
    return find_preset("report").config("animals", {**SIZES, "size": 32, "batch_size": 2})


def best() -> TrainingConfig:
    """The preset `best` at a small size; its three phases in 22 steps.

    They are a tenth as long as the preset's, with which roundings grow a million times on some
    processors.
    """
    values = {**SIZES, "size": 64, "batch_size": 2, "phases": "regression+critic:0.5+adversarial:2"}
    return find_preset("best").config("general", {**values, "learning_rate": 1e-4})


def perceptual() -> TrainingConfig:
    """Every term of the losses, attention, an encoder that learns, and photographs as input.

    Its steps are short, because Adam's first ones amplify roundings in the classifier's layers.
    """
    return replace(
        best(),
        phases="perceptual+adversarial",
        encoder_rate=0.1,
        attention="on",
        discriminators="patches+features+projection",
        learning_rate=1e-6,
        epochs=1,
    )


def hypercolumn() -> TrainingConfig:
    """The baseline, whose batch normalisations learn."""
    return replace(report(), backbone="efficientnet_lite0", size=64, epochs=1)


def cic() -> TrainingConfig:
    """The baseline that measures its prior first; its steps are short, as those of `perceptual`."""
    return replace(report(), size=64, epochs=1, learning_rate=1e-5)


def diverse() -> TrainingConfig:
    """Noise channels, whose vectors every worker draws for the whole batch."""
    return replace(report(), noise_channels=3, lambda_diversity=10.0, epochs=1)


CONFIGS: dict[str, Callable[[], TrainingConfig]] = {
    each.__name__: each for each in (report, best, perceptual, hypercolumn, cic, diverse)
}


def create(name: str, workers: Workers = ALONE, count: int = TRAIN) -> Training:
    """One of the trainings above, on smooth random photographs."""
    config, model = CONFIGS[name](), name if name in BASELINES else "animals"
    side = config.size if config.fixes_encoder(model) else round(config.size * 286 / 256)
    train = bank(count, 0, side, groups=config.uses_labels(model))
    photographs = train, bank(VAL, 1, config.size)
    return Training(config, *photographs, CPU, FLOAT32, model, workers)


def trained(name: str, workers: Workers = ALONE) -> dict[str, Any]:
    """Train, and return the losses of every step, the records of the epochs and the weights."""
    torch.set_num_threads(1)
    training, losses = create(name, workers), []
    take = training.steps.take

    def spy(*arguments: Any) -> torch.Tensor:
        found = take(*arguments)
        losses.append(found.tolist())
        return found

    training.steps.take = spy  # type: ignore[method-assign]
    history = [
        [each.loss_d, each.loss_gan, each.loss_l1, each.val_l1, each.val_psnr]
        for each in training.run()
    ]
    return {"losses": losses, "history": history, "weights": training.snapshot().tensors}


def published(name: str, dataset: Dataset, run: str, speed: SpeedConfig = FLOAT32) -> None:
    """Train on scenes and publish, with as many workers as there are."""
    where = (dataset.storage.uri, dataset.manifest.name, run, "animals")
    train_model(ModelRun(*where, CONFIGS[name](), speed, checkpoint_every=1), CPU)


def looked_at(folder: Path, workers: Workers) -> dict[str, Any]:
    """The rows of features of some photographs, and how many this worker has computed."""
    found = {}
    for where in ("shared", f"own-{workers.rank}", "memory"):
        os.environ["COLORGAN_CACHE"] = str(folder / f"cache-{where}")
        os.environ["COLORGAN_CACHE_GIB"] = "0" if where == "memory" else "1"
        eyes = Eyes()
        rows = look_once(numbered(), eyes.looker, mirrored=True, workers=workers)
        assert rows
        found[where.partition("-")[0]] = eyes.seen, torch.cat([*rows.in_order(64)]).tolist()
    return found


def main(names: str, folder: Path) -> None:
    dist.init_process_group("gloo")
    workers = current_workers()
    record = looked_at(folder, workers)
    (folder / f"features-{workers.rank}.json").write_text(json.dumps(record))
    # Each has a cache of its own, as on machines of their own.
    os.environ["COLORGAN_CACHE"] = str(folder / f"cache-of-{workers.rank}")
    del os.environ["COLORGAN_CACHE_GIB"]
    for name in names.split(","):
        record = trained(name, workers)
        torch.save(record.pop("weights"), folder / f"{name}-{workers.rank}.pt")
        (folder / f"{name}-{workers.rank}.json").write_text(json.dumps(record))
    scenes = open_dataset(open_storage(str(folder / "storage")), "scenes")
    for name in ("report", "best"):
        published(name, scenes, f"{name}-of-two")
    published("report", scenes, "streamed-by-two", replace(FLOAT32, data="stream"))
    dist.destroy_process_group()
    gc.collect()
    (folder / f"threads-{workers.rank}").write_text(" ".join(sorted(threads())))


def threads() -> list[str]:
    """The names of this process's threads, also of those that Python does not know."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
