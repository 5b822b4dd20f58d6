"""Network interpolation: the published weights lie between regression and adversarial training.

A generator trained against an adversary writes bolder colours and makes more mistakes, such as an
object in two hues or a red face. The mean of its weights before and after that phase is a network
whose pictures lie between those of both (Wang et al. 2018, ESRGAN, section 3.4), at no cost in
inference. A training that begins with its adversary, from random weights, has no earlier state and
publishes what it learns.
"""

import copy

import torch
from torch import Tensor

from colorgan.models.generator import Generator
from colorgan.models.noise import is_noise
from colorgan.training.states import copied


class Interpolation:
    """The weighted mean of a generator and its state before adversarial training.

    Attributes:
        before: the generator's state before the first step with an adversary; empty until then.
    """

    def __init__(self, weight: float) -> None:
        """Take the weight of the current generator, in [0, 1]."""
        self._weight = weight
        self.before: dict[str, Tensor] = {}

    def begin(self, generator: Generator) -> None:
        """Save the state before the first step with an adversary; later calls do nothing."""
        if self._weight < 1 and not self.before:
            self.before = copied(generator.state_dict())

    @torch.no_grad()
    def __call__(self, generator: Generator) -> Generator:
        """Return the mean, or the generator itself where there is nothing to average."""
        if not self.before:
            return generator
        mean = copy.deepcopy(generator)
        for name, tensor in mean.state_dict().items():
            # Noise channels say nothing before the adversary.
            if tensor.is_floating_point() and not is_noise(name):
                tensor.lerp_(self.before[name].to(tensor.device), 1 - self._weight)
        return mean
