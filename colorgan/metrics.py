"""Metrics: a colouring's distance from the original, and its colourfulness."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.data.masks import IGNORED
from colorgan.errors import ColorganError
from colorgan.images.colorfulness import colorfulness as colorfulness
from colorgan.images.lab import lab_to_rgb, rgb_to_lab

Counts = npt.NDArray[np.float64]

# torchvision's file name for the AlexNet weights that LPIPS uses.
_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"

# With fewer photographs, the bootstrap's standard error is a third too small, and the distance
# depends more on their number than on their content.
FEWEST_PHOTOGRAPHS = 20

_MOST_DRAWN = 300  # photographs per resample: its time grows with the cube of their number
_MOST_AT_ONCE = 2000  # photographs whose scalar products are kept in memory, in 96 MB
_LEAST_CHROMA = 1.0  # Lab units; below this a picture is gray, and its colour is rounding error


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
    """Root mean squared difference in a and b of CIE Lab; arguments and result as for `ab_l1`."""
    return _ab_difference(colored, original).square().mean(dim=(1, 2, 3)).sqrt()


def _ab_difference(colored: Tensor, original: Tensor) -> Tensor:
    return rgb_to_lab(colored)[:, 1:] - rgb_to_lab(original)[:, 1:]


def psnr(colored: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in sRGB.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.

    Returns:
        (batch,) in dB; higher is better, capped at 100 dB for equal pictures.
    """
    error = (colored - original).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))


def ssim(colored: Tensor, original: Tensor) -> Tensor:
    """Structural similarity in sRGB with a Gaussian window of 11 pixels, as in torchmetrics.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004).

    Args:
        colored: (batch, 3, height, width) float32 sRGB in [0, 1], of at least 11 x 11 pixels.
        original: the same shape.

    Returns:
        (batch,); 1 is best.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        colored, original, data_range=1.0, reduction="none"
    )
    assert isinstance(similarity, Tensor)
    return similarity.reshape(len(colored))  # for one picture, torchmetrics returns a scalar


def lpips_weights() -> Path:
    """The file in which torchvision keeps AlexNet's weights, which LPIPS needs."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_WEIGHTS


def load_lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """Learned perceptual image patch similarity (LPIPS) with AlexNet, as in torchmetrics.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).

    Returns:
        A function with the arguments and result of `ssim`; 0 is best.

    Raises:
        ColorganError: AlexNet's weights are missing; they are never downloaded implicitly.
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
    """Scale colourings to the chroma of their originals, so that only their hues are judged.

    A pale colouring and a wrong one are both far from the originals. This function scales a and b
    of CIE Lab so that each picture has the mean chroma of its original: a pale colouring with the
    right hues is then near, and a wrong one as far as before.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        originals: the same shape, of the same photographs.

    Returns:
        The same shape and dtype, in [0, 1]: colours outside the sRGB gamut are clipped, and a
        picture whose mean chroma is below 1 Lab unit has no hue and is left unchanged.
    """
    lab = rgb_to_lab(colored)
    ours, theirs = (_mean_chroma(each) for each in (lab, rgb_to_lab(originals)))
    scale = torch.where(ours < _LEAST_CHROMA, 1, theirs / ours.clamp(min=_LEAST_CHROMA))
    scaled = lab[:, 1:] * scale[:, None, None, None]
    return lab_to_rgb(torch.cat([lab[:, :1], scaled], dim=1))


def _mean_chroma(lab: Tensor) -> Tensor:
    return lab[:, 1:].square().sum(dim=1).sqrt().mean(dim=(1, 2))


def colorfulness_ratio(colored: npt.ArrayLike, originals: npt.ArrayLike) -> float:
    """The colourfulness of the colourings relative to the originals.

    This is the ratio of the means, the usual measure for comparing colourisers, and not the mean
    of the ratios, which a single nearly gray original would dominate.

    Args:
        colored: (photographs,), the `colorfulness` of the colourings.
        originals: (photographs,), the `colorfulness` of the originals.

    Returns:
        0 for gray, 1 for as colourful as the originals; NaN if the originals are all gray or there
        are none.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (colored, originals))
    return float(ours.mean() / theirs.mean()) if theirs.size and theirs.mean() > 0 else math.nan


@dataclass(frozen=True)
class SegmentationScores:
    """The four metrics of Long, Shelhamer and Darrell 2015, section 5, each in [0, 1].

    Each is an array with one value per confusion matrix, and NaN where no pixel counts.

    Attributes:
        pixel_accuracy: the share of the pixels whose class is right.
        class_accuracy: the mean over the true classes of the share of their pixels that is right.
        mean_iou: the mean over the classes of intersection over union.
        weighted_iou: the same, weighted with the share of the pixels that are of the class.
    """

    pixel_accuracy: Counts
    class_accuracy: Counts
    mean_iou: Counts
    weighted_iou: Counts


def segmentation_confusion(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, classes: int
) -> npt.NDArray[np.int64]:
    """Count the pixels of each true class that are taken for each class.

    Args:
        predicted: integers below `classes`, of any shape.
        truth: integers below `classes`, or IGNORED, of the same shape.
        classes: the number of classes.

    Returns:
        (classes, classes): n_ij of Long et al., the true class i by the predicted class j.
    """
    seen, true = (np.asarray(each).astype(np.int64).ravel() for each in (predicted, truth))
    counted = true != IGNORED
    pairs = classes * true[counted] + seen[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def segmentation_scores(confusions: npt.ArrayLike) -> SegmentationScores:
    """Compute the metrics of confusion matrices.

    A class that occurs neither in the truth nor in the prediction does not count; one that is only
    predicted has an intersection over union of 0, but no accuracy.

    Args:
        confusions: (..., classes, classes), as `segmentation_confusion` returns them.
    """
    counts = np.asarray(confusions, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true, pixels = counts.sum(axis=-1), counts.sum(axis=(-2, -1))
    iou = class_iou(counts)
    return SegmentationScores(
        pixel_accuracy=_ratio(right.sum(axis=-1), pixels),
        class_accuracy=_mean_of_known(_ratio(right, true)),
        mean_iou=_mean_of_known(iou),
        weighted_iou=_ratio((true * np.nan_to_num(iou)).sum(axis=-1), pixels),
    )


def class_iou(confusions: npt.ArrayLike) -> Counts:
    """Intersection over union of each class, (..., classes); NaN for a class that is nowhere."""
    counts = np.asarray(confusions, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return _ratio(right, counts.sum(axis=-1) + counts.sum(axis=-2) - right)


def _ratio(part: Counts, whole: Counts) -> Counts:
    with np.errstate(invalid="ignore"):
        ratio: Counts = np.divide(part, whole)
    return ratio


def _mean_of_known(values: Counts) -> Counts:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def frechet_distance(
    features_a: Tensor | npt.ArrayLike, features_b: Tensor | npt.ArrayLike
) -> float:
    """Fréchet distance of two sets of features as normal distributions with full covariances.

    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), on any features; the
    result equals torchmetrics' FrechetInceptionDistance. The square root of the product of the
    covariances is taken in the space of the photographs, which are fewer than the features: its
    trace is the sum of the singular values of A Bᵀ, where A and B are the centred features.

    The distance shrinks as photographs are added, even from the same distributions: compare it
    only between sets of the same size.

    Args:
        features_a: (photographs, features) floating point.
        features_b: the same features, possibly of a different number of photographs.

    Returns:
        0 for equal means and covariances. The distance is symmetric.

    Raises:
        ColorganError: a set has fewer than FEWEST_PHOTOGRAPHS.
    """
    a, b = (torch.as_tensor(each).double() for each in (features_a, features_b))
    fewest = min(len(a), len(b))
    if fewest < FEWEST_PHOTOGRAPHS:
        raise ColorganError(
            f"a Fréchet distance needs at least {FEWEST_PHOTOGRAPHS} photographs, not {fewest}"
        )
    means = [each.mean(dim=0) for each in (a, b)]
    a, b = (
        _fewer_rows(each - mean) / math.sqrt(len(each) - 1)
        for each, mean in zip((a, b), means, strict=True)
    )
    apart = (means[0] - means[1]).square().sum() + a.square().sum() + b.square().sum()
    return max(0.0, float(apart - 2 * torch.linalg.svdvals(a @ b.T).sum()))


def _fewer_rows(centered: Tensor) -> Tensor:
    """Rows with the same covariance, at most as many as there are columns."""
    if len(centered) <= centered.shape[1]:
        return centered
    rows: Tensor = torch.linalg.qr(centered, mode="r").R
    return rows


class PairedFrechet:
    """The Fréchet distance of two sets of pictures of the same photographs, and its bootstrap.

    The scalar products of the features are computed once; every resample only weights them.
    """

    def __init__(self, features_a: Tensor, features_b: Tensor) -> None:
        """Take two (photographs, features) floating point tensors with the same photographs."""
        self._sets = features_a.double(), features_b.double()

    def distance(self) -> float:
        """The distance; see `frechet_distance`, also for its errors."""
        return frechet_distance(*self._sets)

    def standard_error(self, seed: int = 0, resamples: int = 200) -> float:
        """The standard error of the distance over other samples of the same size.

        This is the standard deviation over bootstrap samples of the photographs (Efron 1979); both
        pictures of a photograph are drawn together. The quantiles of the samples cannot be used: a
        photograph that is drawn twice adds no direction to a covariance, so that all their
        distances are too large. From more than 300 photographs, each sample draws 300 (the
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
    """Run on one thread: a few hundred rows take several times as long on busy threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _products(a: Tensor, b: Tensor) -> list[Tensor]:
    center = b.mean(dim=0)  # subtracted from both: this only reduces the rounding error
    a, b = a - center, b - center
    return [a @ a.T, b @ b.T, a @ b.T]


def _weighted_distance(products: Sequence[Tensor], weights: Tensor, count: int) -> float:
    """The Fréchet distance of weighted photographs, from the scalar products of their features.

    Args:
        products: the first set with itself, the second with itself, the first with the second.
        weights: one per photograph; their sum is 1.
        count: the number of photographs that the weights represent.
    """
    first, second, across = products
    means = [weights @ each @ weights for each in products]
    spread = weights @ (first.diagonal() + second.diagonal()) - means[0] - means[1]
    centered = across - (weights @ across)[None] - (across @ weights)[:, None] + means[2]
    root = weights.sqrt()
    shared = torch.linalg.svdvals(root[:, None] * centered * root[None]).sum()
    unbiased = count / (count - 1)
    return float(means[0] + means[1] - 2 * means[2] + unbiased * (spread - 2 * shared))


@dataclass(frozen=True)
class FoundBoxes:
    """The boxes in a picture.

    Attributes:
        boxes: (boxes, 4) left, top, right, bottom.
        labels: (boxes,) what is in each.
        scores: (boxes,) how certain it is.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def average_precision(
    found: Sequence[FoundBoxes], true: Sequence[FoundBoxes], overlap: float = 0.5
) -> float:
    """The mean over labels of the area below the precision by recall (Everingham et al. 2010).

    Args:
        found: the boxes that were found, by picture.
        true: those that are there.
        overlap: the least intersection over union at which a found box is right; each true box can
            be found once, by the most certain one.

    Returns:
        In [0, 1]; NaN if there is no true box.
    """
    areas = []
    for name in sorted({int(each) for one in true for each in one.labels}):
        hits: list[tuple[float, bool]] = []
        total = 0
        for ours, theirs in zip(found, true, strict=True):
            boxes = theirs.boxes[theirs.labels == name]
            total += len(boxes)
            free = np.ones(len(boxes), bool)
            mine = ours.labels == name
            for place in np.argsort(-ours.scores[mine], kind="stable"):
                share = _overlaps(ours.boxes[mine][place], boxes) * free
                right = bool(len(boxes)) and share.max() >= overlap
                if right:
                    free[share.argmax()] = False
                hits.append((float(ours.scores[mine][place]), right))
        rights = np.array([right for _, right in sorted(hits, key=lambda each: -each[0])], bool)
        precision = np.cumsum(rights) / np.arange(1, len(rights) + 1)
        # The highest precision at this recall or any higher one.
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        areas.append(float(highest[rights].sum() / total))
    return float(np.mean(areas)) if areas else float("nan")


def _overlaps(
    box: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """The intersection over union of a box with each of (boxes, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (high - low).clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    share: npt.NDArray[np.float32] = common / np.maximum(areas - common, 1e-9)
    return share
