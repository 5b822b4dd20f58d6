"""The class of each photograph of a batch, for discriminators that are given it."""

import numpy as np
import torch
from torch import Tensor

from colorgan.data.batches import PhotoBank, PhotoSource, epoch_order
from colorgan.errors import ConfigError
from colorgan.training.config import TrainingConfig
from colorgan.workers import Workers


class Labels:
    """The classes of a training's photographs, in the order in which an epoch takes them.

    Attributes:
        classes: the names of the classes in alphabetical order, whose positions are their numbers;
            empty if no discriminator is given them.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: str,
        train: PhotoSource,
        device: torch.device,
        workers: Workers,
    ) -> None:
        """Look up the classes.

        Args:
            config: the training's configuration.
            model: the model's name.
            train: the training photographs, before `keep_on_device`.
            device: the device to train on.
            workers: the workers; each gets the labels of its part of a batch.

        Raises:
            ConfigError: the classes of the photographs are needed, but not known.
        """
        self._batch_size, self._seed = config.batch_size, config.seed
        self._device, self._workers = device, workers
        self.classes: tuple[str, ...] = ()
        if not config.uses_labels(model):
            return
        if not isinstance(train, PhotoBank) or not train.groups:
            raise ConfigError(
                "--discriminators projection: the classes of the photographs are not known; they "
                "are with --data memory"
            )
        names = [name for name, _ in train.groups]
        self.classes = tuple(sorted({*names}))
        self._weights = train.weights
        self._numbers = np.array([self.classes.index(name) for name in names])

    def begin(self, epoch: int) -> None:
        """Draw the order of an epoch, which is that of every `batches` with the same generator."""
        if self.classes:
            rng = np.random.default_rng([self._seed, epoch])
            order = epoch_order(len(self._numbers), rng, self._weights)
            self._epoch = torch.from_numpy(self._numbers[order]).to(self._device)

    def of(self, step: int) -> Tensor | None:
        """The numbers of the classes of a step's photographs, counted from 1 in the epoch.

        Returns:
            (batch,) int64 on the device, for this worker's part; None if they are not used.
        """
        if not self.classes:
            return None
        start = (step - 1) * self._batch_size
        mine = self._workers.within(start, min(start + self._batch_size, len(self._epoch)))
        return self._epoch[mine.start : mine.stop]
