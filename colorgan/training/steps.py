"""The training step of each phase.

The objective of a pix2pix conditional GAN (Isola et al. 2017, section 3.1), for lightness x and
colour y:

    G* = arg min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))]  +  lambda * E[|y - G(x)|]

A perceptual term can be added, the distance of G(x) and y in the features of classifiers (Johnson
et al. 2016, section 3.2), and a penalty for colours that differ where y has a single one. Other
discriminators can replace D; they use a hinge loss, except `projection`, which is D given the class
of the photograph. A `regression` phase trains the generator by L1
alone, and a `perceptual` phase by both distances. A `critic` phase trains the discriminators alone
on the generator's pictures, so that the adversarial phase begins with discriminators that know them
(NoGAN, J. Antic 2019). A generator with noise channels is G(x, z); where noise alone learns, L1 and
the perceptual term have no part in an adversarial phase, and a diversity term can be added.

The baselines have one objective each: the hypercolumn network (Dahl 2016) the distance of U and V,
unblurred and blurred, and CIC (Zhang et al. 2016) the cross-entropy of quantised colours.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized

from colorgan.images.color_spaces import ColorSpace
from colorgan.models.cic import CicNetwork
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator, noise_channels
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.noise import draw_noise
from colorgan.models.pictures import Colored
from colorgan.training.config import TrainingConfig
from colorgan.training.networks import Autocast
from colorgan.training.objectives import (
    CROSS_ENTROPY,
    HINGE,
    FrozenClassifiers,
    Seen,
    chroma_distance,
    incoherence,
    indifference,
    nearest_distance,
    perceptual_distance,
    rebalanced_cross_entropy,
)
from colorgan.training.phases import Moment
from colorgan.training.samples import Sample, picture
from colorgan.workers import Part

_DRAWS = 4  # colourings of each photograph, of which the nearest one learns


class Steps:
    """The steps of one training.

    Each returns (3,) losses without a gradient: the discriminators', the generator's against them,
    and L1.

    Attributes:
        config: the training's configuration.
        generator: the generator that learns.
        adam: its optimiser.
        classifiers: the classifiers whose features the losses use.
        discriminators: the discriminators by name; None if the training has none.
        part: this worker's part of the current batch; None if it is the only worker.
        adam_d: their optimiser, if there are any.
    """

    def __init__(
        self,
        config: TrainingConfig,
        generator: Generator,
        adam: torch.optim.Adam,
        classifiers: FrozenClassifiers,
        autocast: Autocast,
        space: ColorSpace,
        compiled: bool,
    ) -> None:
        """Take networks that are already on their device.

        Args:
            config: the training's configuration.
            generator: the generator to train.
            adam: its optimiser.
            classifiers: the classifiers whose features the losses use.
            autocast: the precision of the networks' arithmetic.
            space: the colour space that the generator writes.
            compiled: whether to compile the networks that learn.
        """
        self.config = config
        self.generator = generator
        self.adam = adam
        self.classifiers = classifiers
        self._autocast = autocast
        self._space = space
        self.discriminators: nn.ModuleDict | None = None
        self._compile: Callable[[Callable[..., Any]], Callable[..., Any]]
        self._compile = torch.compile if compiled else _as_it_is
        learns: Callable[..., Any] = generator
        if isinstance(generator, EncoderUNetGenerator):
            learns = generator.decode
        elif isinstance(generator, CicNetwork):
            learns = generator.logits
        self._generate = self._compile(learns)
        self.part: Part | None = None
        self._channels = noise_channels(generator)

    def oppose(self, discriminators: nn.ModuleDict, adam: torch.optim.Adam) -> None:
        """Add the discriminators, on the same device, and their optimiser."""
        self.discriminators, self.adam_d = discriminators, adam
        # Not for spectral normalisation: compiled, it overwrites what a later gradient needs.
        self._judges: dict[str, Callable[[Colored], list[Tensor]]] = {
            name: self._compile(each) if _is_compilable(each) else each
            for name, each in discriminators.items()
        }
        self._compare: nn.Module
        self._compare = _Comparison(discriminators, self._judges)

    def share(self, part: Part) -> None:
        """Take every step together with other workers; to be called after `oppose`.

        Each worker's loss is weighted by its share of the batch, so that the sum of the gradients
        is the gradient of the whole batch's loss.

        Args:
            part: this worker's part of the batch, updated before every step.
        """
        self.part = part
        self._generate = _synchronized(_Learner(self.generator, self._generate))
        if self.discriminators is not None:
            self._compare = _synchronized(self._compare)

    def take(self, moment: Moment, sample: Sample) -> Tensor:
        """Take the step that a moment of the schedule names, at its learning rate.

        Returns:
            The losses of the whole batch.
        """
        losses = self._take(moment, sample)
        return losses if self.part is None else self.part.mean(losses)

    def _take(self, moment: Moment, sample: Sample) -> Tensor:
        config = self.config
        if config.noise_only and self._channels:
            self.generator.eval()  # no statistic may change, nor may dropout disturb the rest
        adversarial = moment.objective == "adversarial"
        self._set_rate(self.adam, moment.rate * (config.adversarial_rate if adversarial else 1))
        if self.discriminators is not None:
            self._set_rate(self.adam_d, moment.rate)
        if isinstance(self.generator, HypercolumnNetwork):
            return self.hypercolumn(sample)
        if isinstance(self.generator, CicNetwork):
            return self.classification(self.generator, sample)
        if moment.objective == "critic":
            return self.critic(sample)
        if adversarial:
            return self.adversarial(sample)
        return self.regression(sample, moment.objective == "perceptual")

    def _set_rate(self, adam: torch.optim.Adam, rate: float) -> None:
        for group in adam.param_groups:
            group["lr"] = self.config.learning_rate * rate * group["share"]

    def hypercolumn(self, sample: Sample) -> Tensor:
        """One step of the hypercolumn network."""
        with self._autocast():
            fake = self._generate(sample.gray)
        loss = chroma_distance(fake.float(), sample.color)
        self._learn(loss)
        return _losses(l1=loss)

    def classification(self, network: CicNetwork, sample: Sample) -> Tensor:
        """One step of CIC, the network that classifies colours."""
        with self._autocast():
            logits = self._generate(sample.gray)
        wanted = network.targets(sample.color)
        loss = rebalanced_cross_entropy(logits, wanted, network.bins, network.class_weights)
        self._learn(loss)
        return _losses(l1=loss)

    def regression(self, sample: Sample, perceptual: bool) -> Tensor:
        """One step of the generator without its adversary, by L1 and maybe the perceptual term."""
        with self._autocast():
            fake = self._color(sample)
        loss = F.l1_loss(fake.float(), sample.color)
        seen: tuple[Seen, Seen] = ([], [])
        if perceptual:
            seen = self.see_colors(sample, fake), self.see_real(sample)
        self._learn(self.content(loss, *seen))
        return _losses(l1=loss)

    def critic(self, sample: Sample) -> Tensor:
        """One step of the discriminators alone, against the generator in evaluation mode."""
        sample = self._enhanced(sample)
        self.generator.eval()
        with torch.no_grad():
            with self._autocast():
                fake = self._color(sample, self._drawn(sample))
            real_picture, fake_picture = self.pictures(sample, fake, "features" in self._judges)
        self.generator.train()
        loss = F.l1_loss(fake.float(), sample.color)
        return _losses(self._judge(real_picture, fake_picture), l1=loss)

    def adversarial(self, sample: Sample) -> Tensor:
        """One step of the discriminators, then one of the generator against them."""
        assert self.discriminators is not None
        sample = self._enhanced(sample)
        with self._autocast():
            fake = self._color(sample, z := self._drawn(sample))
        real_picture, fake_picture = self.pictures(sample, fake, bool(self.classifiers.networks))
        loss_d = self._judge(real_picture, _detached(fake_picture))
        self.discriminators.requires_grad_(False)
        loss_gan = self.deceive(fake_picture)
        loss_l1 = F.l1_loss(fake.float(), sample.color)
        content = loss_l1.new_zeros(())
        if not self.config.noise_only:  # which would pull every draw to the same colours
            content = self.content(loss_l1, fake_picture.seen, real_picture.seen)
        if self.config.lambda_diversity:
            diversity = self.diversity(sample, fake.float(), z)
            content = content + self.config.lambda_diversity * diversity
        if self.config.lambda_coherence:
            coherence = incoherence(fake.float(), sample.color)
            content = content + self.config.lambda_coherence * coherence
        self._learn(self.config.lambda_adversary * loss_gan + content)
        self.discriminators.requires_grad_(True)
        return _losses(loss_d, loss_gan, l1=loss_l1)

    def _color(self, sample: Sample, z: Tensor | None = None) -> Tensor:
        """The generator's colours of a sample; without noise vectors, those of the zero vector."""
        color: Tensor
        if not self._channels:
            color = self._generate(sample.gray)
            return color
        if z is None:  # computed nevertheless, as other workers wait for every gradient
            z = torch.zeros(len(sample.color), self._channels, device=sample.color.device)
        color = self._generate(sample.gray, z=z)
        return color

    def _drawn(self, sample: Sample) -> Tensor | None:
        """Noise vectors for a sample; None without noise channels.

        Unless noise alone learns, half of the photographs get the zero vector, at random, so that
        it remains a colouring of its own (as conditions in Ho and Salimans 2022, section 3.2).
        """
        if not self._channels:
            return None
        count, device = len(sample.color), sample.color.device
        z = draw_noise(count, self._channels, device, self.part)
        if self.config.noise_only:
            return z
        return z * (draw_noise(count, 1, device, self.part) > 0)

    def diversity(self, sample: Sample, fake: Tensor, z: Tensor | None) -> Tensor:
        """The term against noise that is ignored; see `nearest_distance` and `indifference`.

        Args:
            sample: the photographs.
            fake: their colours with the noise vectors z.
            z: (batch, noise channels).
        """
        assert z is not None
        if self.config.diversity == "seeking":
            other = draw_noise(len(z), self._channels, z.device, self.part)
            with self._autocast():
                color = self._color(sample, other)
            return indifference(fake, color.float(), (z, other))
        zs = [draw_noise(len(z), self._channels, z.device, self.part) for _ in range(_DRAWS)]
        nearest = self._nearest(sample, zs)
        with self._autocast():
            color = self._color(sample, nearest)
        return nearest_distance(color.float()[None], sample.color)

    @torch.no_grad()
    def _nearest(self, sample: Sample, zs: Sequence[Tensor]) -> Tensor:
        """Of several noise vectors of each photograph, the one with the nearest colouring."""
        training = self.generator.training
        self.generator.eval()
        errors = []
        for z in zs:
            with self._autocast():
                color = self._color(sample, z)
            errors.append((color.float() - sample.color).abs().mean(dim=(1, 2, 3)))
        self.generator.train(training)
        best = torch.stack(errors).argmin(dim=0)
        return torch.stack([*zs])[best, torch.arange(len(best), device=best.device)]

    def _learn(self, loss: Tensor) -> None:
        self.adam.zero_grad(set_to_none=True)
        self._differentiate(loss)
        self.adam.step()

    def _differentiate(self, loss: Tensor) -> None:
        """Compute the gradients of the whole batch's loss, from that of this worker's part."""
        if self.part is not None:  # DistributedDataParallel takes the mean over the workers
            loss = loss * (self.part.share * self.part.workers.count)
        loss.backward()  # type: ignore[no-untyped-call]

    def content(
        self, l1: Tensor, seen: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """The L1 and perceptual terms of the generator's loss."""
        content = self.config.lambda_l1 * l1
        if self.config.lambda_perceptual and wanted:
            distance = perceptual_distance(seen, wanted, self.part)
            content = content + self.config.lambda_perceptual * distance
        return content

    def _judge(self, real: Colored, fake: Colored) -> Tensor:
        """Take a step of the discriminators; returns the sum of their losses."""
        with self._autocast():
            verdicts = zip(self._judges, self._compare(real, fake), strict=True)
            losses = [_LOSSES[name].judge(*verdict) for name, verdict in verdicts]
        loss = torch.stack(losses).sum()
        self.adam_d.zero_grad(set_to_none=True)
        self._differentiate(loss)
        self.adam_d.step()
        return loss

    def deceive(self, fake: Colored) -> Tensor:
        """The generator's loss against all discriminators, weighted."""
        losses = []
        with self._autocast():
            for name, weight in self.config.discriminator_weights:
                losses.append(weight * _LOSSES[name].deceive(self._judges[name](fake)))
        return torch.stack(losses).sum()

    def _enhanced(self, sample: Sample) -> Sample:
        """The sample with its photographs' chroma multiplied by `TrainingConfig.chroma`."""
        if self.config.chroma == 1:
            return sample
        color = (sample.color * self.config.chroma).clamp(-1, 1)
        return replace(sample, color=color, seen=None)

    def pictures(self, sample: Sample, fake: Tensor, seen: bool) -> tuple[Colored, Colored]:
        """The real and the generated pictures of a sample; `seen` adds classifiers' features."""
        real_seen: Seen = []
        fake_seen: Seen = []
        gray_seen: Seen = []
        if seen:
            real_seen, fake_seen = self.see_real(sample), self.see_colors(sample, fake)
        if "features" in self._judges:
            gray_seen = self.see_gray(sample)
        gray = sample.features
        return (
            Colored(sample.lightness, sample.color, gray, real_seen, gray_seen, sample.labels),
            Colored(sample.lightness, fake, gray, fake_seen, gray_seen, sample.labels),
        )

    @torch.no_grad()
    def see_real(self, sample: Sample) -> Seen:
        """The classifiers' features of the photographs of a sample, without a gradient."""
        return sample.seen or self.see_colors(sample, sample.color)

    @torch.no_grad()
    def see_gray(self, sample: Sample) -> Seen:
        """Their features of the lightness that discriminators judge, without a gradient."""
        return sample.seen_gray or self.classifiers.judged(sample.lightness)

    def see_colors(self, sample: Sample, color: Tensor) -> Seen:
        """Their features of the pictures of a sample in other colours."""
        return self.classifiers(picture(sample, color, self._space))


class _Learner(nn.Module):
    """The generator's training step forward, as DistributedDataParallel needs it."""

    def __init__(self, generator: Generator, generate: Callable[..., Any]) -> None:
        super().__init__()
        self.generator = generator
        self._generate = generate

    def forward(self, gray: Tensor | list[Tensor], **noise: Tensor) -> Tensor:
        color: Tensor = self._generate(gray, **noise)
        return color


class _Comparison(nn.Module):
    """All discriminators' logits of real and of generated pictures."""

    def __init__(
        self, discriminators: nn.ModuleDict, judges: dict[str, Callable[[Colored], list[Tensor]]]
    ) -> None:
        super().__init__()
        self.discriminators = discriminators
        self._judges = judges

    def forward(self, real: Colored, fake: Colored) -> list[tuple[list[Tensor], list[Tensor]]]:
        return [(judge(real), judge(fake)) for judge in self._judges.values()]


def _synchronized(module: nn.Module) -> nn.Module:
    """The module, whose gradients become the mean of all workers'.

    The buffers are the same in all workers: statistics are shared, and the rest is computed from
    the weights.
    """
    known = inspect.signature(DistributedDataParallel).parameters
    names = ("forward_sync_buffers", "broadcast_buffers")  # the option's new name and its old one
    options: dict[str, Any] = {next(name for name in names if name in known): False}
    return DistributedDataParallel(module, **options)


# Miyato and Koyama derive the projection from the cross-entropy, and use a hinge loss in their
# experiments. With the cross-entropy, `projection` differs from `patches` in the class alone.
_LOSSES = {
    "patches": CROSS_ENTROPY,
    "projection": CROSS_ENTROPY,
    "features": HINGE,
    "semantic": HINGE,
}


def _losses(judge: Tensor | None = None, deceive: Tensor | None = None, *, l1: Tensor) -> Tensor:
    nothing = l1.detach() * 0
    each = [nothing if loss is None else loss for loss in (judge, deceive)]
    return torch.stack([*each, l1]).detach()


def _detached(picture: Colored) -> Colored:
    """The picture without gradients to the generator."""
    seen = [[each.detach() for each in features] for features in picture.seen]
    return replace(picture, color=picture.color.detach(), seen=seen)


def _is_compilable(discriminator: nn.Module) -> bool:
    """Whether a discriminator has no spectral normalisation; see `Steps.oppose`."""
    return not any(map(is_parametrized, discriminator.modules()))


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
