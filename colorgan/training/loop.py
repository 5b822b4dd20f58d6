"""The training of one network on one device: a loop that yields a record per epoch.

`steps` defines the training steps, and `phases` when each is taken. The order, crops, flips and
dropout of an epoch depend on (seed, epoch) alone, and phases are counted in steps, so a training
that continues from a checkpoint gives the same result as one that was never stopped.
"""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from colorgan.data.batches import (
    JITTER,
    Batches,
    DevicePhotographs,
    PhotoBank,
    Photographs,
    keep_on_device,
    on_device,
)
from colorgan.data.dataset import Dataset
from colorgan.data.features import FeatureBank, look_once
from colorgan.errors import ConfigError, TrainingDiverged
from colorgan.images import lab
from colorgan.models.architectures import HypercolumnConfig
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.pictures import scaled
from colorgan.names import HYPERCOLUMN
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.interpolation import Interpolation
from colorgan.training.networks import (
    Classifiers,
    create_discriminators,
    create_generator,
    discriminators_adam,
    generators_adam,
    seeded,
)
from colorgan.training.objectives import FrozenClassifiers
from colorgan.training.phases import Phase, Schedule
from colorgan.training.records import EpochRecord, is_nearest
from colorgan.training.samples import Keep, Sample, Sampler
from colorgan.training.states import Snapshot, copied, of_prefix, prefixed, read_files, tensors_of
from colorgan.training.steps import Steps
from colorgan.training.validation import Validated, Validation

if TYPE_CHECKING:
    from colorgan.models.classifiers import Classifier

# Prefixes of the names of tensors in a checkpoint.
_DISCRIMINATOR = "discriminator"
_NEAREST = "nearest."  # the generator's state at the lowest Fréchet distance so far
_BEFORE = "before."  # the generator's state before the adversary

_VALIDATION_BATCH = 64  # least number of photographs that a GPU validates at a time


class Training:
    """The state of one training: networks, optimisers, epochs done.

    Attributes:
        config: the training's configuration.
        generator: the network that is kept: the one that learns, or its running average.
        history: a record for every epoch done.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train: PhotoBank,
        val: PhotoBank,
        device: torch.device,
        speed: SpeedConfig | None = None,
        model: str = "",
    ) -> None:
        """Create the networks, with weights drawn from the seed.

        Args:
            config: the training's configuration.
            train: training photographs, of the size that `load_banks` gives them.
            val: validation photographs, of the crops' size.
            device: the device to train on.
            speed: how to use the device; None means the defaults.
            model: the model's name, which decides between a GAN and the hypercolumn network.

        Raises:
            ColorganError: the backbone's weights are not available.
        """
        self._speed = speed = speed or SpeedConfig()
        self.config = config
        self.history: list[EpochRecord] = []
        self._train, self._val = (
            keep_on_device(bank, device, speed.gpu_photo_share) for bank in (train, val)
        )
        self._rows: tuple[FeatureBank, FeatureBank] | None = None  # train and val, once computed
        self._device = device
        self._autocast = partial(
            torch.autocast, device.type, torch.bfloat16, enabled=speed.bfloat16_on(device)
        )
        self._phases = config.phase_list
        if isinstance(config.architecture(model), HypercolumnConfig):
            self._phases = (Phase("regression", 1.0),)
        self._space = config.architecture(model).color_space
        self._has_fixed_encoder = _has_fixed_encoder(config, model)
        self._create(model)
        self._nearest: dict[str, Tensor] = {}  # the generator at the lowest distance
        knows = bool(config.start_from) or not self._phases[0].has_adversary
        self._interpolation = Interpolation(config.interpolation if knows else 1.0)

    def _create(self, model: str) -> None:
        """Create the networks and their optimisers."""
        config, device, speed = self.config, self._device, self._speed
        adversarial = any(phase.has_adversary for phase in self._phases)
        loaded, networks = Classifiers(), []
        self._discriminators: nn.ModuleDict | None = None
        with seeded(config.seed, 0, device):
            self._learner = learner = create_generator(config, model, loaded)
            if isinstance(learner, EncoderUNetGenerator):
                learner.encoder.requires_grad_(config.encoder_rate > 0)
            if config.sees_colors and not isinstance(learner, HypercolumnNetwork):
                networks = [loaded.features(name).to(device) for name in config.perceptual_names]
            # Created last, so that the generator's initial weights do not depend on them.
            if adversarial:
                self._discriminators = create_discriminators(config, learner, networks)
        self._validation = Validation(self._ruler(loaded))
        channels_last = speed.channels_last_on(device, self._has_fixed_encoder)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        learner.to(device, memory_format=layout)  # type: ignore[call-overload]
        fused, compiled = speed.fused_adam != "off", speed.compile == "on"
        self._adam_g = generators_adam(learner, config, fused)
        self.generator = learner
        if config.average:
            self.generator = copy.deepcopy(learner).requires_grad_(False)
        classifiers = FrozenClassifiers(networks, self._autocast)
        judges = self._discriminators or ()
        keep = Keep(real=bool(networks) and config.chroma == 1, gray="features" in judges)
        self._sampler = Sampler(learner, self._space, self._autocast, classifiers, keep)
        self._steps = Steps(
            config, learner, self._adam_g, classifiers, self._autocast, self._space, compiled
        )
        if self._discriminators is not None:
            self._discriminators.to(device, memory_format=layout)  # type: ignore[call-overload]
            self._adam_d = discriminators_adam(self._discriminators, config, fused)
            self._steps.oppose(self._discriminators, self._adam_d)

    def _ruler(self, classifiers: Classifiers) -> "Classifier | None":
        """The encoder's classifier if the Fréchet distance is to be measured, otherwise None.

        The paper's U-Net needs no classifier; one is loaded for it only if the distance chooses
        the published epoch.
        """
        chooses = self.config.publish == "nearest"
        measured = chooses or isinstance(self._learner, EncoderUNetGenerator)
        if self._phases[-1].objective != "adversarial" or not measured:
            return None
        classifier = classifiers.whole(self.config.encoder, self._device)
        classifier.use_fastest_type()
        return classifier

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.history)

    def run(
        self,
        observe: Callable[[float], None] = lambda fraction: None,
        prepare: Callable[[float], None] = lambda fraction: None,
    ) -> Iterator[EpochRecord]:
        """Train the remaining epochs.

        Args:
            observe: called after every step with the fraction of the epoch that is done.
            prepare: called with the fraction done while the features of all photographs are
                computed, which a frozen encoder needs before the first epoch.

        Yields:
            A record after every epoch; the state can be saved before the next one starts.

        Raises:
            TrainingDiverged: a loss is not a finite number.
        """
        if self.epoch < self.config.epochs:
            self._look_once(prepare)
        while self.epoch < self.config.epochs:
            record = self._run_epoch(observe)
            if is_nearest(record, self.history):
                self._nearest = copied(self.interpolated().state_dict())
            self.history.append(record)
            yield record

    def _look_once(self, prepare: Callable[[float], None]) -> None:
        """Compute a frozen encoder's features of all photographs, if there is room to keep them."""
        config, banks = self.config, (self._train, self._val)
        if not (self._has_fixed_encoder and self._speed.keeps_features_on(self._device)):
            return
        train, val = banks
        whole = all(bank.pixels.shape[1] == config.size for bank in banks)
        if not (isinstance(train, PhotoBank) and isinstance(val, PhotoBank) and whole):
            return
        half = torch.bfloat16 if self._speed.bfloat16_on(self._device) else torch.float16
        looker = self._sampler.looker(config.size, half)
        share = 2 * len(train) / (2 * len(train) + len(val))
        rows = look_once(train, looker, True, lambda done: prepare(share * done))
        of_val = look_once(val, looker, False, lambda done: prepare(share + (1 - share) * done))
        self._rows = (rows, of_val) if rows and of_val else None

    def _run_epoch(self, observe: Callable[[float], None]) -> EpochRecord:
        epoch = self.epoch + 1
        config, started = self.config, time.perf_counter()
        rng = np.random.default_rng([config.seed, epoch])
        steps = math.ceil(len(self._train) / config.batch_size)
        schedule = Schedule(self._phases, steps * config.epochs, config.decay_share)
        # Losses stay on the device until the epoch ends: reading one would wait for the device.
        totals = torch.zeros(3, device=self._device)
        self._learner.train()
        photographs = self._rows[0] if self._rows else self._train
        crops = photographs.batches(config.batch_size, config.size, rng)
        with (
            seeded(config.seed, epoch, self._device),
            closing(self._moved(crops, self._train)) as batches,
        ):
            waited = 0.0
            for step in range(1, steps + 1):
                asked = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - asked
                done = (epoch - 1) * steps + step
                moment = schedule.at(done - 1)
                if moment.has_adversary:
                    self._interpolation.begin(self.generator)
                totals += self._steps.take(moment, self._sample(batch)) * len(batch)
                if config.average and moment.objective != "critic":
                    self._update_average(done)
                observe(step / steps)
        loss_d, loss_gan, loss_l1 = (totals / len(self._train)).tolist()
        trained = time.perf_counter() - started
        if not all(map(math.isfinite, (loss_d, loss_gan, loss_l1))):
            raise TrainingDiverged(
                f"the loss is not finite in epoch {epoch} (discriminator {loss_d}, generator "
                f"{loss_gan}, L1 {loss_l1}): try a lower --learning-rate than "
                f"{config.learning_rate}"
            )
        validated = self.validate(moment.objective == "adversarial")
        return EpochRecord(
            epoch=epoch,
            loss_d=loss_d,
            loss_gan=loss_gan,
            loss_l1=loss_l1,
            val_l1=validated.l1,
            val_psnr=validated.psnr,
            images_per_second=len(self._train) / trained,
            seconds=time.perf_counter() - started,
            data_seconds=waited,
            step_seconds=trained - waited,
            val_colorfulness=validated.colorfulness,
            val_distance=validated.distance,
        )

    def _sample(self, batch: Tensor) -> Sample:
        """The input of a step, from a batch of photographs or of their feature rows."""
        if self._rows:
            return self._sampler.of_rows(batch, self.config.size)
        return self._sampler.of_photographs(batch)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """Update the running average of the weights after a step, counted from 1."""
        # The first weights are random, so they are forgotten quickly.
        decay = min(self.config.average, (1 + step) / (10 + step))
        kept, learned = self.generator.state_dict(), self._learner.state_dict()
        weights = [name for name, tensor in kept.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [kept[name] for name in weights], [learned[name] for name in weights], 1 - decay
        )

    @torch.no_grad()
    def validate(self, distance: bool = False) -> Validated:
        """Measure the interpolated network on the validation photographs.

        Args:
            distance: whether to also measure the Fréchet distance; see `Validation`.
        """
        generator = self.interpolated().eval()
        size = self.config.batch_size
        if self._device.type == "cuda":  # without gradients there is room for more
            size = max(size, _VALIDATION_BATCH)
        rows = self._rows[1].in_order(size) if self._rows else repeat(None)

        def pairs(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
            for rgb, row in zip(batches, rows, strict=False):
                lightness, _ = lab.encode(rgb, self._space)
                color = self._colors(generator, lightness, row)
                yield lab.decode(lightness, color, self._space), rgb.float() / 255

        with closing(self._moved(self._val.in_order(size), self._val)) as batches:
            return self._validation(pairs(batches), distance)

    def _colors(self, generator: Generator, lightness: Tensor, rows: Tensor | None) -> Tensor:
        """The generator's colours, scaled to the size of the lightness."""
        with self._autocast():
            if rows is None:
                colors: Tensor = generator(lightness)
                return colors
            assert isinstance(generator, EncoderUNetGenerator)
            return scaled(generator.decode(self._sample(rows).features), lightness)

    def _moved(self, batches: Batches, photographs: Photographs) -> Batches:
        """Move batches to the device, unless their photographs are there already."""
        if isinstance(photographs, DevicePhotographs):
            return batches
        return on_device(batches, self._device, self._speed.prefetch_on(self._device))

    @property
    def learner(self) -> Generator:
        """The network that learns, of which `generator` may be the running average."""
        return self._learner

    @property
    def discriminators(self) -> nn.ModuleDict | None:
        """The discriminators by name; None if no phase has an adversary."""
        return self._discriminators

    @property
    def steps(self) -> Steps:
        """The training's steps."""
        return self._steps

    @property
    def sampler(self) -> Sampler:
        """Makes the inputs of the steps from photographs or from rows of features."""
        return self._sampler

    @property
    def rows(self) -> tuple[FeatureBank, FeatureBank] | None:
        """A frozen encoder's features of the training and validation photographs, if kept."""
        return self._rows

    def interpolated(self) -> Generator:
        """The network that is validated and published; see `interpolation`."""
        return self._interpolation(self.generator)

    def published(self) -> tuple[Generator, EpochRecord]:
        """The network to publish and the record of its epoch; see `TrainingConfig.publish`."""
        if self.config.publish == "last" or not self._nearest:
            return self.interpolated(), self.history[-1]
        chosen = copy.deepcopy(self.generator)
        chosen.load_state_dict(self._nearest)
        measured = [record for record in self.history if record.val_distance is not None]
        return chosen, min(measured, key=lambda record: record.val_distance or 0.0)

    def snapshot(self) -> Snapshot:
        """Copy the whole state; to be called between two epochs."""
        return Snapshot(
            epoch=self.epoch,
            tensors={
                **copied(self._tensors()),
                **prefixed(_NEAREST, self._nearest),
                **prefixed(_BEFORE, self._interpolation.before),
            },
            state={
                "config": asdict(self.config),
                "history": [asdict(record) for record in self.history],
            },
        )

    def load(self, files: Mapping[str, bytes], inherit: bool = False) -> None:
        """Continue from a checkpoint.

        Args:
            files: the files of a snapshot.
            inherit: accept a training with the same networks and other options.

        Raises:
            ConfigError: the checkpoint belongs to a training with other options or networks.
            Corrupt: the checkpoint cannot be read.
        """
        then, tensors, history = read_files(files)
        if not inherit and then != self.config:
            raise ConfigError("the checkpoint belongs to a training with other options")
        ours = self._tensors(stored=tensors.keys())
        if any(n not in tensors or tensors[n].shape != each.shape for n, each in ours.items()):
            raise ConfigError("the checkpoint belongs to networks of another architecture")
        with torch.no_grad():
            for name, tensor in ours.items():
                tensor.copy_(tensors[name])
        self.history = history
        self._nearest = of_prefix(_NEAREST, tensors)
        self._interpolation.before = of_prefix(_BEFORE, tensors)
        self._rows = None

    def start_from(self, generator: Generator) -> None:
        """Start from a trained generator's weights; raises ConfigError if they do not fit."""
        if generator.config != self.generator.config:
            raise ConfigError(
                f"it cannot start from a network of another architecture: {generator.config}"
            )
        for network in {self._learner, self.generator}:
            network.load_state_dict(generator.state_dict())
        self._rows = None

    def oppose_with(self, files: Mapping[str, bytes]) -> None:
        """Start from another training's discriminators, where name and shape are the same.

        Args:
            files: the files of its snapshot; if empty, nothing changes.

        Raises:
            Corrupt: the files cannot be read.
        """
        _, theirs, _ = read_files(files) if files else (None, {}, None)
        for name, network in (self._discriminators or {}).items():
            ours = network.state_dict()
            found = {key: theirs.get(f"{_DISCRIMINATOR}.{name}.{key}") for key in ours}
            if all(each is not None and each.shape == ours[k].shape for k, each in found.items()):
                network.load_state_dict(found)

    def _tensors(self, stored: Collection[str] = ()) -> dict[str, Tensor]:
        """Every tensor of the state by name; the tensors are the state's own, not copies.

        Args:
            stored: names in a state about to be loaded; the missing moments of Adam are created.
        """
        tensors: dict[str, Tensor] = {}
        if self.generator is not self._learner:
            tensors |= {f"average.{key}": v for key, v in self.generator.state_dict().items()}
        tensors |= tensors_of("generator", self._learner, self._adam_g, stored)
        if self._discriminators is not None:
            tensors |= tensors_of(_DISCRIMINATOR, self._discriminators, self._adam_d, stored)
        return tensors


def load_banks(
    dataset: Dataset, model: str, config: TrainingConfig, speed: SpeedConfig | None = None
) -> tuple[PhotoBank, PhotoBank]:
    """Read the training and validation photographs of a model, sized for `Training`.

    Raises:
        ColorganError: the dataset has no such class or split, or is damaged.
    """
    classes = dataset.model_classes(model)
    limit = int((speed or SpeedConfig()).photo_memory_gib * 2**30)
    # Photographs whose features are computed once are not cropped.
    side = config.size if _has_fixed_encoder(config, model) else round(config.size * JITTER)
    return (
        PhotoBank.load(dataset, classes, "train", side, limit, config.photographs, config.balance),
        PhotoBank.load(dataset, classes, "val", config.size, limit),
    )


def _has_fixed_encoder(config: TrainingConfig, model: str) -> bool:
    """Whether a model's generator has a frozen encoder."""
    return config.has_fixed_encoder and model != HYPERCOLUMN
