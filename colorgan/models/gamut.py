"""Colours as a classification: a and b of Lab, quantised to the bins that are in gamut.

R. Zhang, P. Isola and A. A. Efros, "Colorful Image Colorization" (ECCV 2016),
<https://arxiv.org/abs/1603.08511>. Its sections are cited below.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.images.lab import rgb_to_lab

GRID = 10.0  # the distance of neighbouring bins in a and b, in Lab units (section 2.1)
BINS = 313  # the paper's number of bins in gamut, called Q
NEAREST = 5  # the bins that share the soft encoding of a colour (section 2.1)
SIGMA = 5.0  # standard deviation of both Gaussians, in Lab units (sections 2.1 and 2.2)
UNIFORM_SHARE = 0.5  # lambda, the share of the uniform distribution in the prior (section 2.2)
TEMPERATURE = 0.38  # T of the annealed mean (section 2.3)

_STEPS = 52  # levels of each channel of sRGB, of which the faces of its cube are sampled
_FARTHEST = 13  # bins from gray that are tried in each direction; the gamut reaches 11


@cache
def bins_in_gamut() -> Tensor:
    """The bins: the points of the grid of a and b that the paper keeps as in gamut.

    The grid divides the plane of a and b into squares. A point is kept if it is a corner of a
    square that the convex hull of the sRGB gamut's a and b reaches into or, in other words, if the
    hull has a colour whose a and b both differ from the point's by less than GRID. (The gamut
    itself is not quite convex, and would keep 309 points.) These are exactly the points of the
    authors' file pts_in_hull.npy, in its order: by a, and then by b.

    Returns:
        (BINS, 2) float32 in Lab units, a and b.
    """
    from scipy.spatial import ConvexHull  # other models do not need it

    hull = ConvexHull(_gamut())
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2]  # inside: n x + offset <= 0
    line = np.arange(-_FARTHEST, _FARTHEST + 1) * GRID
    points = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    # Two convex shapes, the hull and the square around a point, are apart if and only if they are
    # on either side of a line along an edge of one of them.
    beside_hull = points @ normals.T + offsets >= GRID * np.abs(normals).sum(axis=1)
    low, high = hull.min_bound, hull.max_bound
    beside_square = (points + GRID <= low) | (points - GRID >= high)
    inside = ~beside_hull.any(axis=1) & ~beside_square.any(axis=1)
    with torch.inference_mode(False):  # training cannot use tensors made in inference mode
        return torch.from_numpy(points[inside].astype(np.float32))


def _gamut() -> npt.NDArray[np.float64]:
    """a and b of colours on the faces of the sRGB cube, (colours, 2).

    Brighter colours have more chroma, so the faces have the extreme ones.
    """
    level = np.linspace(0, 1, _STEPS)
    one, other = np.meshgrid(level, level, indexing="ij")
    faces = []
    for channel in range(3):
        for end in (0.0, 1.0):
            face = [one, other]
            face.insert(channel, np.full_like(one, end))
            faces.append(np.stack(face))
    lab = rgb_to_lab(torch.from_numpy(np.stack(faces)))
    return lab[:, 1:].permute(0, 2, 3, 1).reshape(-1, 2).numpy()


def soft_encode(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """The soft encoding Z of colours by their nearest bins (section 2.1).

    Each of the NEAREST bins q gets the share exp(-d(q)^2 / (2 SIGMA^2)), divided by their sum,
    where d is its distance from the colour; all other bins get 0.

    Args:
        ab: (batch, 2, height, width) in Lab units.
        bins: (bins, 2) in Lab units.

    Returns:
        The bins' numbers, the nearest first, int64, and their shares, both
        (batch, NEAREST, height, width).
    """
    batch, _, height, width = ab.shape
    colors = ab.float().permute(0, 2, 3, 1).reshape(-1, 2)
    distances = torch.cdist(colors, bins, compute_mode="donot_use_mm_for_euclid_dist")
    nearest, numbers = distances.topk(NEAREST, largest=False)
    shares = (-nearest.square() / (2 * SIGMA**2)).softmax(dim=1)
    shape = (batch, height, width, NEAREST)
    return numbers.view(shape).permute(0, 3, 1, 2), shares.view(shape).permute(0, 3, 1, 2)


def smoothed_prior(counts: Tensor, bins: Tensor) -> Tensor:
    """The smoothed probability of each bin among the colours of photographs (section 2.2).

    The histogram is convolved with a Gaussian of SIGMA in the plane of a and b. What would fall on
    points out of gamut is spread over the bins in gamut.

    Args:
        counts: (bins,) the number of colours whose nearest bin each one is.
        bins: (bins, 2) in Lab units.

    Returns:
        (bins,) float32, with a sum of 1; uniform if all counts are 0.
    """
    distances = torch.cdist(bins, bins, compute_mode="donot_use_mm_for_euclid_dist").double()
    kernel = torch.exp(-distances.square() / (2 * SIGMA**2))
    kernel = kernel / kernel.sum(dim=0)
    histogram = kernel @ counts.to(kernel)
    total = histogram.sum()
    uniform = torch.full_like(histogram, 1 / len(histogram))
    return torch.where(total > 0, histogram / total, uniform).float()


def class_weights(prior: Tensor) -> Tensor:
    """The weight of each bin in the loss, which raises rare colours (section 2.2, equation 4).

        w  is proportional to  1 / ((1 - lambda) p + lambda / Q),   with  sum over q of p w = 1

    Args:
        prior: (bins,) the smoothed probabilities p, with a sum of 1.

    Returns:
        (bins,) the weights w, whose expectation under the prior is 1.
    """
    weights = 1 / ((1 - UNIFORM_SHARE) * prior + UNIFORM_SHARE / len(prior))
    return weights / (prior * weights).sum()


def annealed_mean(logits: Tensor, bins: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """A colour for each place from its distribution over the bins (section 2.3, equation 5).

        H(z) = E[f_T(z)],   f_T(z) = exp(log(z) / T) / sum over q of exp(log(z_q) / T)

    At T = 1 it is the mean of the distribution, which is pale; towards 0 it becomes its mode, which
    is vivid and incoherent.

    Args:
        logits: (batch, bins, height, width); z is their softmax.
        bins: (bins, 2), in any unit.
        temperature: T, above 0.

    Returns:
        (batch, 2, height, width) in the bins' unit.
    """
    shares = (logits.float() / temperature).softmax(dim=1).to(bins.dtype)
    return F.conv2d(shares, bins.T[:, :, None, None])
