"""How far a colouring is from the original, and how it looks by itself."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from colorgan.errors import ColorganError
from colorgan.images.lab import rgb_to_lab

# What torchvision names the file of AlexNet's weights, on which LPIPS stands.
_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"


def ab_l1(colored: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference in a and b of CIE Lab, over channels and pixels.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.

    Returns:
        (batch,) in Lab units; 0 is best.
    """
    return _ab_difference(colored, original).abs().mean(dim=(1, 2, 3))


def ab_rmse(colored: Tensor, original: Tensor) -> Tensor:
    """Root of the mean squared difference in a and b; takes and returns as `ab_l1`."""
    return _ab_difference(colored, original).square().mean(dim=(1, 2, 3)).sqrt()


def _ab_difference(colored: Tensor, original: Tensor) -> Tensor:
    return rgb_to_lab(colored)[:, 1:] - rgb_to_lab(original)[:, 1:]


def psnr(colored: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in sRGB.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.

    Returns:
        (batch,) in dB; higher is better, capped at 100 for equal pictures.
    """
    error = (colored - original).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))


def ssim(colored: Tensor, original: Tensor) -> Tensor:
    """Structural similarity in sRGB, under a Gaussian window of 11 pixels (torchmetrics').

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004).

    Args:
        colored: (batch, 3, height, width) float32 sRGB in [0, 1], of at least 11 x 11 pixels.
        original: the same shape.

    Returns:
        (batch,), 1 at best.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        colored, original, data_range=1.0, reduction="none"
    )
    assert isinstance(similarity, Tensor)
    return similarity.reshape(len(colored))  # of one picture it comes without a dimension


def colorfulness(rgb: Tensor) -> Tensor:
    """How colourful pictures look to people.

    Hasler and Süsstrunk, "Measuring Colorfulness in Natural Images" (2003), the metric M3: people
    call 0 not colourful, 33 moderately, 59 quite and 109 extremely so.

    Args:
        rgb: (batch, 3, height, width) floating point sRGB in [0, 1].

    Returns:
        (batch,), 0 for gray.
    """
    red, green, blue = (rgb * 255).unbind(dim=1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1).flatten(2)
    deviation = opponents.var(dim=2, correction=0).sum(dim=1).sqrt()
    mean = opponents.mean(dim=2).square().sum(dim=1).sqrt()
    return deviation + 0.3 * mean


def lpips_weights() -> Path:
    """Where torchvision keeps AlexNet's weights, without which there is no LPIPS."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_WEIGHTS


def load_lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """Learned perceptual image patch similarity, torchmetrics' with AlexNet.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).

    Returns:
        A function of pairs as those of `ssim`; 0 is best.

    Raises:
        ColorganError: AlexNet's weights are not at hand; they are not downloaded behind one's back.
    """
    if not lpips_weights().exists():
        raise ColorganError(
            f"LPIPS needs torchvision's AlexNet weights, {_LPIPS_WEIGHTS}, in PyTorch's hub folder"
        )
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(net="alex").eval().requires_grad_(False)

    @torch.inference_mode()
    def distance(colored: Tensor, original: Tensor) -> Tensor:
        result: Tensor = network(colored, original, normalize=True)
        return result.reshape(len(colored))

    return distance


def frechet_distance(features: Tensor, reference: Tensor, components: int = 64) -> float:
    """Distance of two sets of features as normal distributions, in their main directions.

    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), on any features. Of fewer
    pictures than features the whole covariance is singular, so both sets are first projected onto
    the reference's principal components.

    Args:
        features: (pictures, features) floating point, of what is judged.
        reference: (pictures, features), of the originals.
        components: at most so many directions, and fewer where there are fewer pictures.

    Returns:
        0 for equal distributions.
    """
    center = reference.double().mean(dim=0)
    _, _, directions = torch.linalg.svd(reference.double() - center, full_matrices=False)
    kept = directions[: max(1, min(components, len(reference) - 1))].T
    ours, theirs = (features.double() - center) @ kept, (reference.double() - center) @ kept
    a, b = (torch.cov(each.T).reshape(kept.shape[1], -1) for each in (ours, theirs))
    # The trace of the root of a product is the sum of the roots of its eigenvalues.
    cross = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    apart = (ours.mean(dim=0) - theirs.mean(dim=0)).square().sum()
    return max(0.0, float(apart + a.trace() + b.trace() - 2 * cross))
