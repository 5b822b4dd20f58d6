"""How far a colouring is from the original, and how it looks by itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.errors import ColorganError
from colorgan.images.colorfulness import colorfulness as colorfulness
from colorgan.images.lab import lab_to_rgb, rgb_to_lab

# What torchvision names the file of AlexNet's weights, on which LPIPS stands.
_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"

# Of fewer, the bootstrap's standard error is a third too small, and the distance itself depends
# on their number more than on what they are.
FEWEST_PHOTOGRAPHS = 20

_MOST_DRAWN = 300  # photographs of a resample: its time grows with their number's cube
_MOST_AT_ONCE = 2000  # photographs whose scalar products are kept, in 96 MB
_LEAST_CHROMA = 1.0  # Lab units; less is gray, and what colour there is comes from rounding


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


def hue_invariant(colored: Tensor, originals: Tensor) -> Tensor:
    """Colourings as strong as their originals: their hues and nothing else are left to judge.

    A pale colouring and a wrong one are both far from the originals. With a and b of CIE Lab
    scaled so that the mean chroma of each picture is its original's, a pale one of right hues is
    near, and a wrong one is as far as before.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        originals: the same shape, of the same photographs.

    Returns:
        The same shape and dtype, in [0, 1]: colours that leave the sRGB gamut are clipped, and a
        picture whose mean chroma is below 1 Lab unit, which has no hue, is left as it is.
    """
    lab = rgb_to_lab(colored)
    ours, theirs = (_mean_chroma(each) for each in (lab, rgb_to_lab(originals)))
    scale = torch.where(ours < _LEAST_CHROMA, 1, theirs / ours.clamp(min=_LEAST_CHROMA))
    scaled = lab[:, 1:] * scale[:, None, None, None]
    return lab_to_rgb(torch.cat([lab[:, :1], scaled], dim=1))


def _mean_chroma(lab: Tensor) -> Tensor:
    return lab[:, 1:].square().sum(dim=1).sqrt().mean(dim=(1, 2))


def colorfulness_ratio(colored: npt.ArrayLike, originals: npt.ArrayLike) -> float:
    """How colourful the colourings are, as a share of the originals.

    It is the ratio of the means, as colourisers are compared by it, not the mean of the ratios,
    which a nearly gray original would decide.

    Args:
        colored: (photographs,), what `colorfulness` returns of the colourings.
        originals: (photographs,), the same of the originals.

    Returns:
        0 for gray, 1 for as colourful as the originals; NaN where those are all gray, or there are
        none.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (colored, originals))
    return float(ours.mean() / theirs.mean()) if theirs.size and theirs.mean() > 0 else math.nan


def frechet_distance(
    features_a: Tensor | npt.ArrayLike, features_b: Tensor | npt.ArrayLike
) -> float:
    """Fréchet distance of two sets of features as normal distributions, with whole covariances.

    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), on any features. It is
    what torchmetrics' FrechetInceptionDistance computes of them. The root of the covariances'
    product is not taken in the space of the features, but in that of the photographs, which are
    fewer: its trace is the sum of the singular values of A Bᵀ, A and B being the centred features.

    The distance shrinks as photographs are added, even of the same distributions: compare it only
    among sets of equally many.

    Args:
        features_a: (photographs, features) floating point.
        features_b: the same, of the same features and maybe of another number of photographs.

    Returns:
        0 for equal means and covariances; the same whichever set comes first.

    Raises:
        ColorganError: a set has fewer than FEWEST_PHOTOGRAPHS.
    """
    a, b = (torch.as_tensor(each).double() for each in (features_a, features_b))
    fewest = min(len(a), len(b))
    if fewest < FEWEST_PHOTOGRAPHS:
        raise ColorganError(
            f"a Fréchet distance of {fewest} photographs says nothing of their distribution: it "
            f"takes at least {FEWEST_PHOTOGRAPHS}"
        )
    means = [each.mean(dim=0) for each in (a, b)]
    a, b = (
        _fewer_rows(each - mean) / math.sqrt(len(each) - 1)
        for each, mean in zip((a, b), means, strict=True)
    )
    apart = (means[0] - means[1]).square().sum() + a.square().sum() + b.square().sum()
    return max(0.0, float(apart - 2 * torch.linalg.svdvals(a @ b.T).sum()))


def _fewer_rows(centered: Tensor) -> Tensor:
    """Rows of the same covariance, at most as many as there are columns."""
    if len(centered) <= centered.shape[1]:
        return centered
    rows: Tensor = torch.linalg.qr(centered, mode="r").R
    return rows


class PairedFrechet:
    """The Fréchet distance of two sets of pictures of the same photographs, and its bootstrap.

    The scalar products of the features are computed once; every resample is a weighting of them.
    """

    def __init__(self, features_a: Tensor, features_b: Tensor) -> None:
        """Take (photographs, features) floating point each, line by line of one photograph."""
        self._sets = features_a.double(), features_b.double()

    def distance(self) -> float:
        """As `frechet_distance`, with its errors."""
        return frechet_distance(*self._sets)

    def standard_error(self, seed: int = 0, resamples: int = 200) -> float:
        """How far the distance of equally many other such photographs would be from this one.

        The standard deviation over bootstrap samples of the photographs (Efron 1979), both
        pictures of a photograph being drawn together. The quantiles of those samples are of no use:
        a photograph that is drawn twice adds no direction to a covariance, so that their
        distances are all too large. Of more than 300 photographs so many are drawn (the
        m out of n bootstrap, Bickel et al. 1997), which bounds time and memory.
        """
        generator = np.random.default_rng(seed)
        count = len(self._sets[0])
        drawn = min(count, _MOST_DRAWN)
        products = _products(*self._sets) if count <= _MOST_AT_ONCE else None
        distances = []
        with _one_thread():
            for _ in range(resamples):
                places, times = np.unique(generator.integers(count, size=drawn), return_counts=True)
                taken = torch.from_numpy(places)
                some = (
                    [each[taken][:, taken] for each in products]
                    if products
                    else _products(*(each[taken] for each in self._sets))
                )
                weights = torch.from_numpy(times / drawn)
                distances.append(_weighted_distance(some, weights, drawn))
        return float(np.std(distances, ddof=1) * math.sqrt(drawn / count))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices of some hundred rows take several times as long on threads that are not free."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _products(a: Tensor, b: Tensor) -> list[Tensor]:
    center = b.mean(dim=0)  # taken off both: nothing changes but the rounding
    a, b = a - center, b - center
    return [a @ a.T, b @ b.T, a @ b.T]


def _weighted_distance(products: Sequence[Tensor], weights: Tensor, count: int) -> float:
    """The Fréchet distance of weighted photographs, from their features' scalar products.

    Args:
        products: of the first set with itself, the second with itself, the first with the second.
        weights: of the photographs; their sum is 1.
        count: how many photographs the weights stand for.
    """
    first, second, across = products
    means = [weights @ each @ weights for each in products]
    spread = weights @ (first.diagonal() + second.diagonal()) - means[0] - means[1]
    centered = across - (weights @ across)[None] - (across @ weights)[:, None] + means[2]
    root = weights.sqrt()
    shared = torch.linalg.svdvals(root[:, None] * centered * root[None]).sum()
    unbiased = count / (count - 1)
    return float(means[0] + means[1] - 2 * means[2] + unbiased * (spread - 2 * shared))
