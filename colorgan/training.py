"""The training of one network on one device: a loop that yields a record an epoch.

The objective of a pix2pix conditional GAN (Isola et al. 2017, section 3.1), for lightness x and
colour y:

    G* = arg min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))]  +  lambda * E[|y - G(x)|]

That of the hypercolumn baseline (Dahl 2016): the distance of U and V, as they are and blurred.

Every epoch draws its order, crops, flips and dropout from (seed, epoch) alone, so a training that
goes on from a checkpoint continues as if it had never stopped.
"""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.batches import JITTER, PhotoBank
from colorgan.data.dataset import HYPERCOLUMN, Dataset
from colorgan.errors import ConfigError, Corrupt, TrainingDiverged
from colorgan.evaluation.metrics import ab_l1, psnr
from colorgan.images import lab
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import BACKBONES, HypercolumnConfig, HypercolumnNetwork
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.unet import GeneratorConfig, UNetGenerator
from colorgan.options import option

Choice = Literal["auto", "on", "off"]
_CHOICES = ("auto", "on", "off")


@dataclass(frozen=True)
class TrainingConfig(GeneratorConfig):
    """Everything that decides a training's result: the generator's architecture and these."""

    discriminator_width: int = option(64, "channels of the discriminator's first layer (ndf)")
    epochs: int = option(200, "passes over the training photographs")
    batch_size: int = option(5, "photographs a step")
    photographs: int = option(
        0, "train on so many at most, as even over the classes as it goes; 0 is all"
    )
    learning_rate: float = option(2e-4, "of Adam, for both networks")
    decay_share: float = option(
        0.0, "share of the epochs, the last ones, over which the learning rate falls to zero"
    )
    beta1: float = option(0.5, "Adam's first-moment decay")
    lambda_l1: float = option(100.0, "weight of the L1 term in the generator's loss")
    backbone: str = option(
        "vgg16", f"classifier below hypercolumn and a trained router: {' or '.join(BACKBONES)}"
    )
    seed: int = option(0, "of the weights, the order, the crops and the dropout")

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        super().__post_init__()
        for name in ("discriminator_width", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise ConfigError("--learning-rate must lie between 0 and 1")
        if not 0 <= self.decay_share <= 1:
            raise ConfigError("--decay-share must lie between 0 and 1")
        if not 0 <= self.beta1 < 1:
            raise ConfigError("--beta1 must be at least 0 and less than 1")
        if self.lambda_l1 < 0:
            raise ConfigError("--lambda-l1 must not be negative")
        self.architecture(HYPERCOLUMN)
        for name in ("photographs", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} must not be negative")

    def learning_rate_in(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        left, falling = self.epochs - epoch + 1, self.decay_share * self.epochs
        return self.learning_rate * min(1.0, left / (falling + 1))

    def architecture(self, model: str) -> GeneratorConfig | HypercolumnConfig:
        """The part that decides the architecture of a model's network."""
        if model == HYPERCOLUMN:
            return HypercolumnConfig(self.size, self.width, self.backbone)
        return GeneratorConfig(
            **{field.name: getattr(self, field.name) for field in fields(GeneratorConfig)}
        )


@dataclass(frozen=True)
class SpeedConfig:
    """How a training runs on its device; `auto` is what was measured to be fastest there."""

    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "of the networks' arithmetic; auto is bfloat16 where the device has it",
        choices=("auto", "float32", "bfloat16"),
    )
    channels_last: Choice = option(
        "auto", "memory layout of the networks; auto is on for a GPU", choices=_CHOICES
    )
    fused_adam: Choice = option("auto", "Adam's fused kernel; auto is on", choices=_CHOICES)
    compile: Choice = option("auto", "torch.compile; auto is off", choices=_CHOICES)
    photo_memory_gib: float = option(
        4.0, "decoded photographs beyond this go to a memory-mapped file, in GiB"
    )

    def bfloat16_on(self, device: torch.device) -> bool:
        """Whether the networks compute in bfloat16 on the device."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return cpu_has_bfloat16()

    def channels_last_on(self, device: torch.device) -> bool:
        """Whether the networks use the channels_last layout on the device."""
        return self.channels_last == "on" or (
            self.channels_last == "auto" and device.type == "cuda"
        )


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself: emulated, it is slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did.

    Attributes:
        epoch: counted from 1.
        loss_d: the discriminator's loss, mean over the epoch's photographs; 0 where there is none.
        loss_gan: the generator's adversarial loss; 0 where there is no discriminator.
        loss_l1: the generator's L1 loss, before lambda, on channels in [-1, 1]; of hypercolumns,
            the mean distance of U and V, as they are and blurred.
        val_l1: mean absolute error in a and b of Lab on the validation split.
        val_psnr: PSNR in sRGB on the validation split, in dB.
        images_per_second: training photographs a second, without the validation.
        seconds: the whole epoch, validation included.
    """

    epoch: int
    loss_d: float
    loss_gan: float
    loss_l1: float
    val_l1: float
    val_psnr: float
    images_per_second: float
    seconds: float


def history_csv(history: Sequence[EpochRecord]) -> bytes:
    """The records as CSV, a line an epoch."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([field.name for field in fields(EpochRecord)])
    table.writerows(asdict(record).values() for record in history)
    return text.getvalue().encode()


class Training:
    """The state of one training: networks, optimisers, epochs done.

    Attributes:
        config: what is trained.
        generator: the network that is kept.
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
            model: what is trained; `hypercolumn`, or else a cGAN.

        Raises:
            ColorganError: the backbone's weights cannot be had.
        """
        speed = speed or SpeedConfig()
        self.config = config
        self.history: list[EpochRecord] = []
        self._train = train
        self._val = val
        self._device = device
        self._bfloat16 = speed.bfloat16_on(device)
        layout = torch.channels_last if speed.channels_last_on(device) else torch.contiguous_format
        architecture = config.architecture(model)
        self._space = architecture.color_space
        self._discriminator: PatchDiscriminator | None = None
        with _seeded(config.seed, 0, device):
            self.generator = create_generator(config, model)
            if isinstance(architecture, GeneratorConfig):
                self._discriminator = PatchDiscriminator(
                    architecture.color_channels, config.discriminator_width, config.norm
                )

        def ready(network: nn.Module) -> torch.optim.Adam:
            network.to(device, memory_format=layout)  # type: ignore[call-overload]
            return torch.optim.Adam(
                [parameter for parameter in network.parameters() if parameter.requires_grad],
                lr=config.learning_rate,
                betas=(config.beta1, 0.999),
                fused=speed.fused_adam != "off",
            )

        self._adam_g = ready(self.generator)
        self._generate: Callable[[Tensor], Tensor] = self.generator
        if self._discriminator:
            self._adam_d = ready(self._discriminator)
            self._judge: Callable[[Tensor, Tensor], Tensor] = self._discriminator
        if speed.compile == "on":
            self._generate = torch.compile(self.generator)
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
                group["lr"] = config.learning_rate_in(epoch)
        self.generator.train()
        step_on = self._adversarial_step if self._discriminator else self._regression_step
        with _seeded(config.seed, epoch, self._device):
            for step, rgb in enumerate(self._train.batches(config.batch_size, config.size, rng), 1):
                totals += step_on(rgb.to(self._device, non_blocking=True)) * len(rgb)
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
        )

    def _regression_step(self, rgb: Tensor) -> Tensor:
        """One step of the generator alone; returns the three losses, detached."""
        lightness, real = lab.encode(rgb, self._space)
        with self._autocast():
            fake = self._generate(lightness)
        difference = fake.float() - real
        # Dahl: the Euclidean distance on U and V, and on both blurred by 3 and by 5 pixels.
        distances = [_blurred(difference, size).square().sum(dim=1) for size in (1, 3, 5)]
        loss = torch.stack([(each + 1e-6).sqrt().mean() for each in distances]).mean()
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
            loss_d = 0.5 * (_says(real_logits, 1.0) + _says(fake_logits, 0.0))
        self._adam_d.zero_grad(set_to_none=True)
        loss_d.backward()  # type: ignore[no-untyped-call]
        self._adam_d.step()

        self._discriminator.requires_grad_(False)
        with self._autocast():
            # The generator maximises log D(x, G(x)) instead of minimising log(1 - D(x, G(x))).
            loss_gan = _says(self._judge(lightness, fake), 1.0)
            loss_l1 = F.l1_loss(fake.float(), real)
        self._adam_g.zero_grad(set_to_none=True)
        (loss_gan + self.config.lambda_l1 * loss_l1).backward()  # type: ignore[no-untyped-call]
        self._adam_g.step()
        self._discriminator.requires_grad_(True)
        return torch.stack([loss_d, loss_gan, loss_l1]).detach()

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Mean ab L1 (Lab units) and mean PSNR (dB) over the validation photographs."""
        self.generator.eval()
        l1, ratio = [], []
        for batch in self._val.in_order(self.config.batch_size):
            rgb = batch.to(self._device)
            lightness, _ = lab.encode(rgb, self._space)
            with self._autocast():
                color = self.generator(lightness)
            original = rgb.float() / 255
            colored = lab.decode(lightness, color, self._space)
            l1.append(ab_l1(colored, original))
            ratio.append(psnr(colored, original))
        return torch.cat(l1).mean().item(), torch.cat(ratio).mean().item()

    def save(self, folder: Path) -> None:
        """Write a checkpoint: state.safetensors and state.json, from which `load` goes on."""
        save_file(_contiguous(self._tensors()), folder / "state.safetensors")
        state = {
            "config": asdict(self.config),
            "history": [asdict(record) for record in self.history],
        }
        (folder / "state.json").write_text(json.dumps(state))

    def load(self, folder: Path, inherit: bool = False) -> None:
        """Go on from a checkpoint.

        Args:
            folder: where `save` wrote it.
            inherit: take it from a training of the same networks, whatever its other options.

        Raises:
            ConfigError: it belongs to a training with other options.
            Corrupt: it cannot be read.
        """
        try:
            state = json.loads((folder / "state.json").read_text())
            tensors = load_file(folder / "state.safetensors", device="cpu")
        except Exception as error:  # safetensors has one exception of its own for all faults
            raise Corrupt(f"the checkpoint in {folder} cannot be read: {error}") from None
        if state["config"] != asdict(self.config) and not inherit:
            raise ConfigError("the checkpoint belongs to a training with other options")
        ours = self._tensors(for_loading=True)
        if any(n not in tensors or tensors[n].shape != each.shape for n, each in ours.items()):
            raise ConfigError("the checkpoint belongs to networks of another architecture")
        for name, tensor in ours.items():
            tensor.copy_(tensors[name])
        self.history = [EpochRecord(**record) for record in state["history"]]

    def _parts(self) -> list[tuple[str, nn.Module, torch.optim.Adam]]:
        parts: list[tuple[str, nn.Module, torch.optim.Adam]]
        parts = [("generator", self.generator, self._adam_g)]
        if self._discriminator:
            parts.append(("discriminator", self._discriminator, self._adam_d))
        return parts

    @torch.no_grad()
    def _tensors(self, for_loading: bool = False) -> dict[str, Tensor]:
        """Every tensor of the state by name; the tensors are the state's own, not copies."""
        tensors: dict[str, Tensor] = {}
        for name, network, adam in self._parts():
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
            for key, parameter in network.named_parameters():
                if not parameter.requires_grad:
                    continue
                if for_loading and not adam.state[parameter]:
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


def create_generator(config: TrainingConfig, model: str) -> Generator:
    """A model's network before its training; its weights are drawn from PyTorch's random state.

    Raises:
        ColorganError: the backbone's weights cannot be had.
    """
    architecture = config.architecture(model)
    if isinstance(architecture, HypercolumnConfig):
        # torchvision takes seconds to import, and the cGANs need none of it.
        from colorgan.models.classifiers import load_classifier

        return HypercolumnNetwork(architecture, load_classifier(architecture.backbone).network)
    return UNetGenerator(architecture)


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
        PhotoBank.load(dataset, classes, "train", side, limit, config.photographs),
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


def _blurred(channels: Tensor, size: int) -> Tensor:
    """Channels under a Gaussian of `size` pixels, of OpenCV's standard deviation for that size."""
    if size == 1:
        return channels
    offsets = torch.arange(size, device=channels.device, dtype=channels.dtype) - size // 2
    deviation = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    line = torch.exp(-offsets.square() / (2 * deviation**2))
    kernel = line[:, None] * line / line.sum() ** 2
    count = channels.shape[1]
    return F.conv2d(channels, kernel.expand(count, 1, size, size), padding="same", groups=count)


def _says(logits: Tensor, verdict: float) -> Tensor:
    """Binary cross-entropy of the discriminator's logits against one verdict for all."""
    target = torch.full_like(logits, verdict, dtype=torch.float32)
    return F.binary_cross_entropy_with_logits(logits.float(), target)


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Draw from (seed, epoch) inside, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
