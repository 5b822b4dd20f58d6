"""Reports on a training process: Prometheus metrics through Ray, and one log line per epoch."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import torch
from ray.util.metrics import Gauge

from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelRun

# Ray accepts only ASCII in descriptions.
GAUGES = {
    "colorgan_epoch": "Epochs done",
    "colorgan_epochs": "Epochs to do",
    "colorgan_images_per_second": "Training photographs a second in the last epoch",
    "colorgan_loss": "Mean loss of the last epoch, by kind",
    "colorgan_val_l1": "Mean absolute error in a and b on the validation photographs, Lab units",
    "colorgan_val_psnr": "PSNR on the validation photographs, dB",
    "colorgan_val_colorfulness": "Colourfulness of the colourings, as a share of the originals'",
    "colorgan_val_distance": "Frechet distance of the colourings to the validation photographs",
    "colorgan_epoch_seconds": "Seconds of the last epoch, by what they went to",
    "colorgan_data_share": "Share of the last epoch's steps that waited for data, from 0 to 1",
    "colorgan_gpu_memory_bytes": "The most GPU memory that PyTorch has held",
}
_TAGS = {"colorgan_loss": ("kind",), "colorgan_epoch_seconds": ("stage",)}


class TrainingMetrics:
    """The gauges of one training process, tagged with its run and its model."""

    def __init__(self, spec: ModelRun, device: torch.device) -> None:
        """Register the gauges, which Ray's agent on this machine exports."""
        self._spec, self._device = spec, device
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._gauges = {
            name: Gauge(name, description, ("run", "model", *_TAGS.get(name, ())))
            for name, description in GAUGES.items()
        }
        for gauge in self._gauges.values():
            gauge.set_default_tags({"run": spec.run, "model": spec.model})

    def record(self, epoch: EpochRecord) -> None:
        """Set the gauges, and write the epoch as a line of JSON to the process's log."""
        self._set("colorgan_epoch", epoch.epoch)
        self._set("colorgan_epochs", self._spec.training.epochs)
        self._set("colorgan_images_per_second", epoch.images_per_second)
        for kind in ("d", "gan", "l1"):
            self._set("colorgan_loss", getattr(epoch, f"loss_{kind}"), kind=kind)
        self._set("colorgan_val_l1", epoch.val_l1)
        self._set("colorgan_val_psnr", epoch.val_psnr)
        if epoch.val_colorfulness is not None:
            self._set("colorgan_val_colorfulness", epoch.val_colorfulness)
        if epoch.val_distance is not None:
            self._set("colorgan_val_distance", epoch.val_distance)
        validation = epoch.seconds - epoch.data_seconds - epoch.step_seconds
        self._set("colorgan_epoch_seconds", epoch.data_seconds, stage="data")
        self._set("colorgan_epoch_seconds", epoch.step_seconds, stage="step")
        self._set("colorgan_epoch_seconds", validation, stage="validation")
        self._set("colorgan_data_share", epoch.data_share)
        if self._device.type == "cuda":
            memory = torch.cuda.max_memory_reserved(self._device)
            self._set("colorgan_gpu_memory_bytes", memory)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self._spec.run,
            "model": self._spec.model,
            **asdict(epoch),
        }
        # One write to stderr, because Ray's own print would log every line twice.
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()

    def saved(self, seconds: float) -> None:
        """Record how many seconds a checkpoint took."""
        self._set("colorgan_epoch_seconds", seconds, stage="checkpoint")

    def refresh(self) -> None:
        """Set every gauge to its last value again: Ray drops gauges not set for 20 seconds."""
        for (name, tags), value in self._values.items():
            self._gauges[name].set(value, tags=dict(tags))

    def _set(self, name: str, value: float, **tags: str) -> None:
        self._values[name, tuple(tags.items())] = value
        self._gauges[name].set(value, tags=tags)
