"""How often the training photographs have each colour, which rebalances a classification."""

from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from colorgan.data.batches import PhotoSource
from colorgan.data.streams import deaths_in_words
from colorgan.images import lab
from colorgan.models.cic import CicNetwork
from colorgan.models.gamut import smoothed_prior, soft_encode
from colorgan.training.config import TrainingConfig
from colorgan.workers import Part, Workers

MOST = 4096  # photographs; more of them hardly change the prior


@deaths_in_words()
@torch.no_grad()
def measured_prior(
    network: CicNetwork,
    photographs: PhotoSource,
    config: TrainingConfig,
    workers: Workers,
    observe: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """The smoothed prior of the bins over training photographs; see `gamut.smoothed_prior`.

    It follows from the photographs and their size alone, not from the training's seed. It is
    measured on the colours that the network's places are to have, in one random crop of each
    photograph, and on MOST photographs if there are more.

    Args:
        network: the network, which gives the bins; on its device.
        photographs: the training photographs.
        config: the training's configuration.
        workers: the workers of the training, each of which looks at its part.
        observe: called between two batches with the fraction done; it may raise to stop.

    Returns:
        (bins,) float32, on the network's device, the same for all workers.
    """
    bins, part, size = network.bins, Part(workers), config.batch_size
    counts = torch.zeros(len(bins), dtype=torch.float64, device=bins.device)
    most = min(len(photographs), MOST)
    crops = photographs.batches(size, config.size, np.random.default_rng(0), workers=workers)
    with workers.together(), closing(crops):
        for start in range(0, most, size):
            part.take(min(size, len(photographs) - start))
            _, color = lab.encode(next(crops).to(bins.device), network.config.color_space)
            if part.share:
                numbers, _ = soft_encode(network.targets(color), bins)
                counts += torch.bincount(numbers[:, 0].flatten(), minlength=len(bins))
            observe(min(1.0, (start + size) / most))
    return smoothed_prior(workers.sum(counts), bins)
