"""Who chooses among the variants of a photograph, without the original."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.errors import Corrupt
from colorgan.images import lab
from colorgan.inference.router import Router
from colorgan.models.generator import Generator
from colorgan.models.pictures import Colored
from colorgan.packages.card import ModelCard
from colorgan.storage import Storage
from colorgan.training.assembly import Assembly, assemble
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig, stored_config
from colorgan.training.samples import Sample
from colorgan.training.states import of_prefix, read_files
from colorgan.workers import ALONE, Part

# Scores variants, the higher the better: (variants,), of a photograph (3, size, size) uint8 and its
# colours (variants, 2, size, size) in [-1, 1].
Critic = Callable[[Tensor, Tensor], Tensor]

_DISCRIMINATOR = "discriminator."


def recognition(router: Router) -> Critic:
    """The critic that prefers what a classifier is surest of: its greatest probability."""
    view = router.classifier.view

    @torch.inference_mode()
    def score(square: Tensor, colors: Tensor) -> Tensor:
        lightness, _ = lab.encode(square[None], "lab")
        rgb = lab.decode(lightness.expand(len(colors), -1, -1, -1), colors, "lab")
        pictures = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        views = torch.stack([view(each, gray=False) for each in pictures.contiguous().numpy()])
        _, probabilities = router.classifier(views)
        return probabilities.amax(dim=1)

    return score


def discriminators(storage: Storage, card: ModelCard, generator: Generator) -> Critic | None:
    """The critic that sums the verdicts of the discriminators that trained a model.

    They are in the last checkpoint of the model's run.

    Args:
        storage: the storage of the run.
        card: the model's package.
        generator: its network, on the CPU.

    Returns:
        The critic; None if the run is not there, has no discriminators, or has one that is given
        the class.

    Raises:
        Corrupt: the checkpoint cannot be read.
    """
    config = stored_config(card.training) if card.training else TrainingConfig()
    files = Checkpoints(storage, f"runs/{card.run}/{card.model}").files() if card.run else {}
    if not files or not config.has_adversary or config.uses_labels(card.model):
        return None
    device, exact = torch.device("cpu"), SpeedConfig(precision="float32", channels_last="off")
    made = assemble(config, card.model, device, exact, nullcontext, Part(ALONE))
    _, tensors, _ = read_files(files)
    assert made.discriminators is not None
    stored = of_prefix(_DISCRIMINATOR, tensors)
    names = made.discriminators.state_dict().keys()
    if not names <= stored.keys():
        raise Corrupt(f"the checkpoint of {card.reference} lacks tensors of its discriminators")
    made.discriminators.load_state_dict({name: stored[name] for name in names})
    made.learner.load_state_dict(generator.state_dict())
    made.discriminators.eval(), made.learner.eval()
    return _verdicts(made, config)


def _verdicts(made: Assembly, config: TrainingConfig) -> Critic:
    judges = made.discriminators
    assert judges is not None

    @torch.inference_mode()
    def score(square: Tensor, colors: Tensor) -> Tensor:
        count = len(colors)
        sample = _repeated(made.sampler.of_photographs(square[None]), count)
        written = F.adaptive_avg_pool2d(colors, sample.color.shape[-1])
        sees = "features" in judges
        picture = Colored(
            sample.lightness,
            written,
            sample.features,
            made.steps.see_colors(sample, written) if sees else [],
            made.steps.see_gray(sample) if sees else [],
        )
        total = torch.zeros(count)
        for name, weight in config.discriminator_weights:
            logits = [each.float().mean(dim=(1, 2, 3)) for each in judges[name](picture)]
            total += weight * torch.stack(logits).mean(dim=0)
        return total

    return score


def _repeated(sample: Sample, count: int) -> Sample:
    """A sample of one photograph as a batch of it."""

    def expand(maps: Tensor) -> Tensor:
        return maps.expand(count, -1, -1, -1)

    gray = sample.gray
    return replace(
        sample,
        gray=expand(gray) if isinstance(gray, Tensor) else [expand(each) for each in gray],
        lightness=expand(sample.lightness),
        color=expand(sample.color),
    )
