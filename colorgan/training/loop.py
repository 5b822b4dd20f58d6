"""The training of one network on one device: a loop that yields a record per epoch.

`steps` defines the training steps, and `phases` when each is taken. The order, crops, flips and
dropout of an epoch depend on (seed, epoch) alone, phases are counted in steps, and a checkpoint
knows its position within an epoch, so a training that continues from a checkpoint, whenever it was
written, gives the same result as one that was never stopped.
"""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor, nn

from colorgan.data.batches import (
    IN_MEMORY,
    Batches,
    DevicePhotographs,
    PhotoBank,
    PhotoSource,
    keep_on_device,
    on_device,
)
from colorgan.data.dataset import Dataset
from colorgan.data.features import FeatureBank, look_at_splits
from colorgan.data.squares import Keeping, read_squares
from colorgan.data.streams import deaths_in_words
from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.models.architectures import is_base
from colorgan.models.cic import CicNetwork
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.pictures import scaled
from colorgan.training import states
from colorgan.training.assembly import assemble
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.continuation import check_continues
from colorgan.training.interpolation import Interpolation
from colorgan.training.labels import Labels
from colorgan.training.networks import seeded, update_average
from colorgan.training.phases import Schedule
from colorgan.training.position import Position, read_position
from colorgan.training.prior import measured_prior
from colorgan.training.records import EpochRecord, check_finite, is_nearest
from colorgan.training.samples import Sample, Sampler
from colorgan.training.selection import training_selection, validation_selection
from colorgan.training.states import Snapshot
from colorgan.training.steps import Steps
from colorgan.training.validation import Validated
from colorgan.workers import ALONE, Part, Workers

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
        train: PhotoSource,
        val: PhotoBank,
        device: torch.device,
        speed: SpeedConfig | None = None,
        model: str = "",
        workers: Workers = ALONE,
    ) -> None:
        """Create the networks, with weights drawn from the seed.

        Args:
            config: its configuration.
            train: training photographs, of the size that `load_banks` gives them.
            val: validation photographs, of the crops' size.
            device: the device to train on.
            speed: how to use the device; None means the defaults.
            model: the model's name, which decides between a GAN and a baseline.
            workers: the workers that train it together; all must do so with the same arguments.

        Raises:
            ColorganError: a backbone's weights or needed classes of the photographs are missing.
        """
        self._speed = speed = speed or SpeedConfig()
        self.config, self._model = config, model
        self.history: list[EpochRecord] = []
        self._workers, self._part = workers, Part(workers)
        self._position, self._device = Position(), device
        self._steps_of_an_epoch = math.ceil(len(train) / config.batch_size)
        keep = partial(keep_on_device, device=device, share=speed.gpu_photo_share)
        self._train: PhotoSource = keep(train) if isinstance(train, PhotoBank) else train
        self._val = keep(val)
        self._rows: tuple[FeatureBank, FeatureBank] | None = None  # train, val
        self._autocast = partial(
            torch.autocast, device.type, torch.bfloat16, enabled=speed.bfloat16_on(device)
        )
        self._phases = config.phases_of(model)
        self._space = config.architecture(model).color_space
        self._has_fixed_encoder = config.fixes_encoder(model)
        self._labels = Labels(config, model, train, device, workers)
        classes = len(self._labels.classes)
        made = assemble(config, model, device, speed, self._autocast, self._part, classes)
        self.generator, self._learner, self._adam_g = made.generator, made.learner, made.adam_g
        self._discriminators, self._adam_d = made.discriminators, made.adam_d
        self._sampler, self._steps, self._validation = made.sampler, made.steps, made.validation
        self._nearest: dict[str, Tensor] = {}  # the generator at the lowest distance
        knows = bool(config.start_from) or not self._phases[0].has_adversary
        self._interpolation = Interpolation(config.interpolation if knows else 1.0)

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.history)

    @property
    def position(self) -> tuple[int, int]:
        """The number of epochs done, and of steps of the next epoch that are done."""
        return self.epoch, self._position.step

    @property
    def depends_on_workers(self) -> bool:
        """Whether an epoch that has begun begins again with another number of workers."""
        return self._train.order(self._workers) != IN_MEMORY

    def run(
        self,
        observe: Callable[[float], None] = lambda fraction: None,
        prepare: Callable[[float], None] = lambda fraction: None,
    ) -> Iterator[EpochRecord]:
        """Train the remaining epochs.

        Args:
            observe: called after every step, and between the batches of a validation, with the
                fraction of the epoch's steps done; it may take a snapshot, and raise to stop.
            prepare: called with the fraction done while the features of all photographs are
                computed, which a frozen encoder needs before the first epoch; likewise.

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
                self._nearest = states.copied(self.interpolated().state_dict())
            self.history.append(record)
            self._position = Position()
            yield record

    def _look_once(self, prepare: Callable[[float], None]) -> None:
        """Look at the photographs before the first epoch, as far as the network needs that.

        For CIC, the prior of the bins is measured once. For a frozen encoder, the features of all
        photographs are computed, if there is room to keep them.
        """
        train, val, speed = self._train, self._val, self._speed
        if isinstance(self.generator, CicNetwork) and self.position == (0, 0):
            prior = measured_prior(self.generator, train, self.config, self._workers, prepare)
            for network in (self.generator, self._learner):
                network.get_buffer("prior").copy_(prior)
        keeps = self._has_fixed_encoder and speed.keeps_features_on(self._device)
        if keeps and isinstance(train, PhotoBank) and isinstance(val, PhotoBank):
            half = torch.bfloat16 if speed.bfloat16_on(self._device) else torch.float16
            looker = self._sampler.looker(self.config.size, half)
            self._rows = look_at_splits(train, val, looker, prepare, speed.scratch, self._workers)

    @deaths_in_words()
    def _run_epoch(self, observe: Callable[[float], None]) -> EpochRecord:
        epoch, position, steps = self.epoch + 1, self._position, self._steps_of_an_epoch
        config, started = self.config, time.perf_counter() - position.seconds
        rng = np.random.default_rng([config.seed, epoch])
        schedule = Schedule(self._phases, steps * config.epochs, config.decay_share)
        self._learner.train()
        self._labels.begin(epoch)
        photographs = self._rows[0] if self._rows else self._train
        crops = photographs.batches(
            config.batch_size, config.size, rng, position.step, self._workers
        )
        self._workers.broadcast([*self._tensors().values()])  # roundings differ between machines
        with (
            seeded(config.seed, epoch, self._device),
            closing(self._moved(crops, self._train)) as batches,
        ):
            # Losses stay on the device until the epoch ends: reading one would wait for it.
            totals = position.begin(self._device, self._train.order(self._workers))
            together = self._workers.together if self.depends_on_workers else nullcontext
            for step in range(position.step + 1, steps + 1):
                asked = time.perf_counter()
                with together():  # a stream may fail in one worker alone
                    batch = next(batches)
                position.waited += time.perf_counter() - asked
                done, count = (epoch - 1) * steps + step, self._photographs_of(step)
                self._part.take(count)
                moment = schedule.at(done - 1)
                if moment.has_adversary:
                    self._interpolation.begin(self.generator)
                sample = replace(self._sample(batch), labels=self._labels.of(step))
                totals += self._steps.take(moment, sample) * count
                if config.average and moment.objective != "critic":
                    update_average(self.generator, self._learner, config.average, done)
                position.step, position.seconds = step, time.perf_counter() - started
                observe(step / steps)
        loss_d, loss_gan, loss_l1 = (totals / len(self._train)).tolist()
        trained = time.perf_counter() - started  # the losses were waited for
        with self._workers.together():
            check_finite(epoch, (loss_d, loss_gan, loss_l1), config.learning_rate)
        last = schedule.at(epoch * steps - 1)
        validated = self.validate(last.objective == "adversarial", lambda: observe(1.0))
        return EpochRecord(
            epoch=epoch,
            loss_d=loss_d,
            loss_gan=loss_gan,
            loss_l1=loss_l1,
            val_l1=validated.l1,
            val_psnr=validated.psnr,
            images_per_second=len(self._train) / trained,
            seconds=time.perf_counter() - started,
            data_seconds=position.waited,
            step_seconds=trained - position.waited,
            val_colorfulness=validated.colorfulness,
            val_distance=validated.distance,
        )

    def _photographs_of(self, step: int) -> int:
        """The number of photographs of a step, counted from 1, over all workers."""
        return min(self.config.batch_size, len(self._train) - (step - 1) * self.config.batch_size)

    def _sample(self, batch: Tensor) -> Sample:
        """The input of a step, from a batch of photographs or of their feature rows."""
        if self._rows:
            return self._sampler.of_rows(batch, self.config.size)
        return self._sampler.of_photographs(batch)

    @torch.no_grad()
    def validate(
        self, distance: bool = False, observe: Callable[[], None] = lambda: None
    ) -> Validated:
        """Measure the interpolated network on the validation photographs.

        Args:
            distance: whether to also measure the Fréchet distance; see `Validation`.
            observe: called between two batches; it may raise to end the validation.
        """
        generator = self.interpolated().eval()
        size = self.config.batch_size
        if self._device.type == "cuda":  # without gradients there is room for more
            size = max(size, _VALIDATION_BATCH)
        workers = self._workers
        with workers.together():
            self._val.read()
        rows = self._rows[1].in_order(size, workers) if self._rows else repeat(None)
        most = -(-len(self._val) // workers.count)  # photographs of a worker

        def pairs(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
            for start in range(0, most, size):
                if start:
                    observe()  # as often in every worker
                if (rgb := next(batches, None)) is None:
                    break
                row = next(rows)
                lightness, _ = lab.encode(rgb, self._space)
                color = self._colors(generator, lightness, row)
                yield lab.decode(lightness, color, self._space), rgb.float() / 255

        with closing(self._moved(self._val.in_order(size, workers), self._val)) as batches:
            return self._validation(pairs(batches), distance)

    def _colors(self, generator: Generator, lightness: Tensor, rows: Tensor | None) -> Tensor:
        """The generator's colours, scaled to the size of the lightness."""
        with self._autocast():
            if rows is None:
                colors: Tensor = generator(lightness)
                return colors
            assert isinstance(generator, EncoderUNetGenerator)
            return scaled(generator.decode(self._sample(rows).features), lightness)

    def _moved(self, batches: Batches, photographs: object) -> Batches:
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
        """Copy the whole state; to be called between two epochs, or by `observe` of `run`."""
        return Snapshot(
            epoch=self.epoch,
            tensors={
                **states.copied(self._tensors()),
                **states.prefixed(_NEAREST, self._nearest),
                **states.prefixed(_BEFORE, self._interpolation.before),
                **self._position.tensors(self._device),
            },
            state={
                "config": asdict(self.config),
                "history": [asdict(record) for record in self.history],
                **self._position.document(),
            },
            step=self._position.step,
        )

    def load(self, files: Mapping[str, bytes], inherit: bool = False) -> None:
        """Continue from a checkpoint.

        Args:
            files: the files of a snapshot.
            inherit: accept a training with the same networks and other options; an epoch that it
                has begun then begins again.

        Raises:
            ConfigError: it belongs to a training with other networks or with options with which
                this one cannot continue; see `check_continues`.
            Corrupt: the checkpoint cannot be read.
        """
        then, tensors, history = states.read_files(files)
        position = read_position(files, tensors, self._train.order(self._workers))
        if not inherit:
            steps, done = self._steps_of_an_epoch, (len(history), position.step)
            check_continues(self._model, self.config, then, steps, done)
        ours = self._tensors(stored=tensors.keys())
        states.overwrite(ours, tensors)
        self.history = history
        self._position = Position() if inherit and then != self.config else position
        self._nearest = states.of_prefix(_NEAREST, tensors)
        self._interpolation.before = states.of_prefix(_BEFORE, tensors)
        self._rows = None

    def start_from(self, generator: Generator) -> None:
        """Start from a trained generator's weights; raises ConfigError if they do not fit.

        It may lack the noise channels, which then add nothing at first.
        """
        if not is_base(generator.config, self.generator.config):
            raise ConfigError(
                f"it cannot start from a network of another architecture: {generator.config}"
            )
        for network in {self._learner, self.generator}:
            network.load_state_dict({**network.state_dict(), **generator.state_dict()})
        self._rows = None

    def oppose_with(self, files: Mapping[str, bytes]) -> None:
        """Start from another training's discriminators, where name and shape are the same.

        Args:
            files: the files of its snapshot; if empty, nothing changes.

        Raises:
            Corrupt: the files cannot be read.
        """
        _, theirs, _ = states.read_files(files) if files else (None, {}, None)
        for name, network in (self._discriminators or {}).items():
            states.load_if_it_fits(network, states.of_prefix(f"{_DISCRIMINATOR}.{name}.", theirs))

    def _tensors(self, stored: Collection[str] = ()) -> dict[str, Tensor]:
        """Every tensor of the state by name; the tensors are the state's own, not copies.

        Args:
            stored: names in a state about to be loaded; the missing moments of Adam are created.
        """
        tensors: dict[str, Tensor] = {}
        if self.generator is not self._learner:
            tensors |= {f"average.{key}": v for key, v in self.generator.state_dict().items()}
        tensors |= states.tensors_of("generator", self._learner, self._adam_g, stored)
        if self._discriminators is not None and self._adam_d is not None:
            tensors |= states.tensors_of(_DISCRIMINATOR, self._discriminators, self._adam_d, stored)
        return tensors


def load_banks(
    dataset: Dataset,
    model: str,
    config: TrainingConfig,
    speed: SpeedConfig | None = None,
    observe: Callable[[int, int], None] = lambda done, count: None,
) -> tuple[PhotoBank, PhotoBank]:
    """Read the training and validation photographs of a model, sized for `Training`.

    Args:
        dataset: the dataset.
        model: the model's name.
        config: the training's configuration.
        speed: where the photographs may be kept; None means the defaults.
        observe: see `Keeping.observe`; it is called for either split.

    Raises:
        ColorganError: the dataset has no such class or split, or is damaged, or there is no room.
    """
    speed = speed or SpeedConfig()
    keeping = Keeping(int(speed.photo_memory_gib * 2**30), speed.scratch, observe)
    wanted = training_selection(dataset, model, config)
    train = PhotoBank(*read_squares(wanted, keeping), config.balance)
    return train, PhotoBank(*read_squares(validation_selection(dataset, model, config), keeping))
