"""The training of one network on one device: a loop that yields a record an epoch.

The objective of a pix2pix conditional GAN (Isola et al. 2017, section 3.1), for lightness x and
colour y:

    G* = arg min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))]  +  lambda * E[|y - G(x)|]

A perceptual term can be added, the distance of G(x) and y in the features of a classifier (Johnson
et al. 2016, section 3.2).

That of the hypercolumn baseline (Dahl 2016): the distance of U and V, as they are and blurred.

Every epoch draws its order, crops, flips and dropout from (seed, epoch) alone, so a training that
goes on from a checkpoint continues as if it had never stopped.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

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
from colorgan.errors import ConfigError, Corrupt, TrainingDiverged
from colorgan.evaluation.metrics import ab_l1, psnr
from colorgan.hyperparameters import SpeedConfig, TrainingConfig
from colorgan.images import lab
from colorgan.models.architectures import HypercolumnConfig
from colorgan.models.backbones import Features
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.networks import create_adam, create_generator, perceptual_features, seeded
from colorgan.objectives import chroma_distance, perceptual_distance, verdict_loss
from colorgan.records import EpochRecord

# The files of a checkpoint.
STATE = "state.json"
TENSORS = "state.safetensors"

_VALIDATION_BATCH = 64  # photographs that a GPU validates at a time, at least


@dataclass(frozen=True)
class Snapshot:
    """A training's whole state after an epoch, while the training itself goes on.

    Attributes:
        epoch: the last one that is done.
        tensors: of the networks and the optimisers by name, on the CPU.
        state: the configuration and the history.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint, from which `Training.load` goes on."""
        return {STATE: json.dumps(self.state).encode(), TENSORS: save(self.tensors)}


class Training:
    """The state of one training: networks, optimisers, epochs done.

    Attributes:
        config: what is trained.
        generator: the network that is kept: the one that learns, or the average of what it was.
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
        """Set up the networks with weights drawn from the seed.

        Args:
            config: how to train.
            train: training photographs, JITTER times as large as the crops.
            val: validation photographs, of the crops' size.
            device: where to train.
            speed: how to use the device; the defaults where None.
            model: what is trained; its objective is `TrainingConfig.objective`.

        Raises:
            ColorganError: the backbone's weights cannot be had.
        """
        speed = speed or SpeedConfig()
        self.config = config
        self.history: list[EpochRecord] = []
        self._train, self._val = (
            keep_on_device(bank, device, speed.gpu_photo_share) for bank in (train, val)
        )
        self._device = device
        self._bfloat16 = speed.bfloat16_on(device)
        self._prefetch = speed.prefetch_on(device)
        layout = torch.channels_last if speed.channels_last_on(device) else torch.contiguous_format
        architecture = config.architecture(model)
        self._space = architecture.color_space
        self._regresses = isinstance(architecture, HypercolumnConfig)
        self._features: Features | None = None
        self._discriminator: PatchDiscriminator | None = None
        with seeded(config.seed, 0, device):
            self._learner = create_generator(config, model)
            if isinstance(self._learner, EncoderUNetGenerator):
                self._learner.encoder.requires_grad_(config.encoder_rate > 0)
            # It draws its weights last, so those of the generator do not depend on it.
            if not isinstance(architecture, HypercolumnConfig) and config.has_adversary:
                self._discriminator = PatchDiscriminator(
                    architecture.color_channels, config.discriminator_width, config.norm
                )
        if config.lambda_perceptual and not self._regresses:
            self._features = perceptual_features(config, self._learner).to(device)

        def ready(network: nn.Module) -> torch.optim.Adam:
            network.to(device, memory_format=layout)  # type: ignore[call-overload]
            return create_adam(network, config, fused=speed.fused_adam != "off")

        self._adam_g = ready(self._learner)
        self.generator = self._learner
        if config.average:
            self.generator = copy.deepcopy(self._learner).requires_grad_(False)
        self._generate: Callable[[Tensor], Tensor] = self._learner
        if self._discriminator:
            self._adam_d = ready(self._discriminator)
            self._judge: Callable[[Tensor, Tensor], Tensor] = self._discriminator
        if speed.compile == "on":
            self._generate = torch.compile(self._learner)
            if self._discriminator:
                self._judge = torch.compile(self._discriminator)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def run(
        self, observe: Callable[[float], None] = lambda fraction: None
    ) -> Iterator[EpochRecord]:
        """Train the epochs that are left.

        Args:
            observe: called after every step with the fraction of the epoch that is done.

        Yields:
            A record after every epoch; the state can be saved before the next.

        Raises:
            TrainingDiverged: a loss is not a finite number.
        """
        while self.epoch < self.config.epochs:
            record = self._run_epoch(observe)
            self.history.append(record)
            yield record

    def _run_epoch(self, observe: Callable[[float], None]) -> EpochRecord:
        epoch = self.epoch + 1
        config, started = self.config, time.perf_counter()
        rng = np.random.default_rng([config.seed, epoch])
        steps = math.ceil(len(self._train) / config.batch_size)
        # Losses stay on the device until the epoch's end: reading one would wait for the device.
        totals = torch.zeros(3, device=self._device)
        for _, _, adam in self._parts():
            for group in adam.param_groups:
                group["lr"] = config.learning_rate_in(epoch) * group["share"]
        self._learner.train()
        step_on = self._step_in(epoch)
        crops = self._train.batches(config.batch_size, config.size, rng)
        with (
            seeded(config.seed, epoch, self._device),
            closing(self._moved(crops, self._train)) as batches,
        ):
            waited = 0.0
            for step in range(1, steps + 1):
                asked = time.perf_counter()
                rgb = next(batches)
                waited += time.perf_counter() - asked
                totals += step_on(rgb) * len(rgb)
                if config.average:
                    self._update_average((epoch - 1) * steps + step)
                observe(step / steps)
        loss_d, loss_gan, loss_l1 = (totals / len(self._train)).tolist()
        trained = time.perf_counter() - started
        if not all(map(math.isfinite, (loss_d, loss_gan, loss_l1))):
            raise TrainingDiverged(
                f"the loss is not finite in epoch {epoch} (discriminator {loss_d}, generator "
                f"{loss_gan}, L1 {loss_l1}): try a lower --learning-rate than "
                f"{config.learning_rate}"
            )
        val_l1, val_psnr = self.validate()
        return EpochRecord(
            epoch=epoch,
            loss_d=loss_d,
            loss_gan=loss_gan,
            loss_l1=loss_l1,
            val_l1=val_l1,
            val_psnr=val_psnr,
            images_per_second=len(self._train) / trained,
            seconds=time.perf_counter() - started,
            data_seconds=waited,
            step_seconds=trained - waited,
        )

    def _step_in(self, epoch: int) -> Callable[[Tensor], Tensor]:
        """What a step of an epoch does."""
        if self._regresses:
            return self._regression_step
        return self._adversarial_step if self.config.adversarial_in(epoch) else self._l1_step

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """Move the average a little towards the learner's weights after a step, counted from 1."""
        # The first weights are random, so they are forgotten quickly.
        decay = min(self.config.average, (1 + step) / (10 + step))
        kept, learned = self.generator.state_dict(), self._learner.state_dict()
        weights = [name for name, tensor in kept.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [kept[name] for name in weights], [learned[name] for name in weights], 1 - decay
        )

    def _l1_step(self, rgb: Tensor) -> Tensor:
        """One step of the generator without its adversary; returns the three losses, detached."""
        lightness, real = lab.encode(rgb, self._space)
        with self._autocast():
            fake = self._generate(lightness)
        loss, content = self._content(lightness, fake, real)
        self._adam_g.zero_grad(set_to_none=True)
        content.backward()  # type: ignore[no-untyped-call]
        self._adam_g.step()
        return torch.stack([loss * 0, loss * 0, loss]).detach()

    def _content(self, lightness: Tensor, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The L1 loss, and all that the generator's loss has besides the adversary's part."""
        loss = F.l1_loss(fake.float(), real)
        content = self.config.lambda_l1 * loss
        if self._features:
            colored, original = (lab.decode(lightness, ab, self._space) for ab in (fake, real))
            distance = perceptual_distance(self._features, colored, original, self._autocast())
            content = content + self.config.lambda_perceptual * distance
        return loss, content

    def _regression_step(self, rgb: Tensor) -> Tensor:
        """One step of the hypercolumns; returns the three losses, detached."""
        lightness, real = lab.encode(rgb, self._space)
        with self._autocast():
            fake = self._generate(lightness)
        loss = chroma_distance(fake.float(), real)
        self._adam_g.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam_g.step()
        return torch.stack([loss * 0, loss * 0, loss]).detach()

    def _adversarial_step(self, rgb: Tensor) -> Tensor:
        """One step of each network on a batch; returns the three losses, detached."""
        assert self._discriminator
        lightness, real = lab.encode(rgb, self._space)
        with self._autocast():
            fake = self._generate(lightness)

            # The discriminator's loss is halved, to slow it against the generator (section 3.3).
            real_logits = self._judge(lightness, real)
            fake_logits = self._judge(lightness, fake.detach())
            loss_d = 0.5 * (verdict_loss(real_logits, 1.0) + verdict_loss(fake_logits, 0.0))
        self._adam_d.zero_grad(set_to_none=True)
        loss_d.backward()  # type: ignore[no-untyped-call]
        self._adam_d.step()

        self._discriminator.requires_grad_(False)
        with self._autocast():
            # The generator maximises log D(x, G(x)) instead of minimising log(1 - D(x, G(x))).
            loss_gan = verdict_loss(self._judge(lightness, fake), 1.0)
        loss_l1, content = self._content(lightness, fake, real)
        self._adam_g.zero_grad(set_to_none=True)
        (loss_gan + content).backward()  # type: ignore[no-untyped-call]
        self._adam_g.step()
        self._discriminator.requires_grad_(True)
        return torch.stack([loss_d, loss_gan, loss_l1]).detach()

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Mean ab L1 (Lab units) and mean PSNR (dB) over the validation photographs."""
        self.generator.eval()
        errors: list[Tensor] = []
        size = self.config.batch_size
        if self._device.type == "cuda":  # which has room for many, without their gradients
            size = max(size, _VALIDATION_BATCH)
        with closing(self._moved(self._val.in_order(size), self._val)) as batches:
            for rgb in batches:
                lightness, _ = lab.encode(rgb, self._space)
                with self._autocast():
                    color = self.generator(lightness)
                original = rgb.float() / 255
                colored = lab.decode(lightness, color, self._space)
                each = torch.stack([ab_l1(colored, original), psnr(colored, original)], dim=1)
                errors.append(each)
        l1, ratio = torch.cat(errors).mean(dim=0).tolist()
        return l1, ratio

    def _moved(self, batches: Batches, photographs: Photographs) -> Batches:
        """Batches of some photographs on the device."""
        if isinstance(photographs, DevicePhotographs):
            return batches
        return on_device(batches, self._device, self._prefetch)

    def snapshot(self) -> Snapshot:
        """The whole state, as it is between two epochs."""
        return Snapshot(
            epoch=self.epoch,
            tensors={
                name: tensor.detach().to("cpu", copy=True).contiguous()
                for name, tensor in self._tensors().items()
            },
            state={
                "config": asdict(self.config),
                "history": [asdict(record) for record in self.history],
            },
        )

    def load(self, files: Mapping[str, bytes], inherit: bool = False) -> None:
        """Go on from a checkpoint.

        Args:
            files: of a snapshot.
            inherit: take it from a training of the same networks, whatever its other options.

        Raises:
            ConfigError: it belongs to a training with other options.
            Corrupt: it cannot be read.
        """
        try:
            state = json.loads(files[STATE])
            then = TrainingConfig(**state["config"])
            tensors = load(files[TENSORS])
        except Exception as error:  # safetensors has one exception of its own for all faults
            raise Corrupt(f"the checkpoint cannot be read: {error}") from None
        if not inherit and then != self.config:
            raise ConfigError("the checkpoint belongs to a training with other options")
        ours = self._tensors(stored=tensors.keys())
        if any(n not in tensors or tensors[n].shape != each.shape for n, each in ours.items()):
            raise ConfigError("the checkpoint belongs to networks of another architecture")
        for name, tensor in ours.items():
            tensor.copy_(tensors[name])
        self.history = [EpochRecord(**record) for record in state["history"]]

    def start_from(self, generator: Generator) -> None:
        """Begin with a trained generator's weights; raises ConfigError where they do not fit."""
        if generator.config != self.generator.config:
            raise ConfigError(
                f"it cannot start from a network of another architecture: {generator.config}"
            )
        for network in {self._learner, self.generator}:
            network.load_state_dict(generator.state_dict())

    def _parts(self) -> list[tuple[str, nn.Module, torch.optim.Adam]]:
        parts: list[tuple[str, nn.Module, torch.optim.Adam]]
        parts = [("generator", self._learner, self._adam_g)]
        if self._discriminator:
            parts.append(("discriminator", self._discriminator, self._adam_d))
        return parts

    @torch.no_grad()
    def _tensors(self, stored: Collection[str] = ()) -> dict[str, Tensor]:
        """Every tensor of the state by name; the tensors are the state's own, not copies.

        Args:
            stored: names of a state that is to be loaded; there is room for Adam's part of it.
        """
        tensors: dict[str, Tensor] = {}
        if self.generator is not self._learner:
            tensors |= {f"average.{key}": v for key, v in self.generator.state_dict().items()}
        for name, network, adam in self._parts():
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
            for key, parameter in network.named_parameters():
                if not parameter.requires_grad:
                    continue
                if f"{name}.{key}.exp_avg" in stored and not adam.state[parameter]:
                    on = parameter.device if adam.defaults["fused"] else torch.device("cpu")
                    adam.state[parameter] = {
                        "step": torch.zeros((), device=on),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }
                for moment, value in adam.state[parameter].items():
                    tensors[f"{name}.{key}.{moment}"] = value
        return tensors

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16)


def load_banks(
    dataset: Dataset, model: str, config: TrainingConfig, speed: SpeedConfig | None = None
) -> tuple[PhotoBank, PhotoBank]:
    """Read the training and validation photographs of a model, sized for `Training`.

    Raises:
        ColorganError: the dataset has no such class or split, or is damaged.
    """
    classes = dataset.model_classes(model)
    limit = int((speed or SpeedConfig()).photo_memory_gib * 2**30)
    side = round(config.size * JITTER)
    return (
        PhotoBank.load(dataset, classes, "train", side, limit, config.photographs, config.balance),
        PhotoBank.load(dataset, classes, "val", config.size, limit),
    )


def choose_device(name: str = "auto") -> torch.device:
    """The device for `auto`, `cpu` or `gpu`.

    Raises:
        ConfigError: there is no GPU that PyTorch can use.
    """
    if name == "gpu" and not torch.cuda.is_available():
        raise ConfigError("--device gpu: PyTorch finds no GPU here")
    if name == "gpu" or (name == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The device in words, for records: the GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
