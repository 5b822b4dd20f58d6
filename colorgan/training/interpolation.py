"""Network interpolation: what is published stands between the regression and the adversary.

A generator that learns against an adversary dares more colours, and makes more mistakes: a thing in
two hues, a red face. The mean of its weights and of those that it had before is a network whose
pictures lie between those of both (Wang et al. 2018, ESRGAN, section 3.4), at no cost in use.
A training that begins with its adversary from random weights has nothing to go back to, and keeps
what it learns.
"""

import copy

import torch
from torch import Tensor

from colorgan.models.generator import Generator
from colorgan.training.states import copied


class Interpolation:
    """The weighted mean of a generator and of what it was before its adversary.

    Attributes:
        before: the generator's state before its first step against an adversary; empty until then.
    """

    def __init__(self, weight: float) -> None:
        """Take the weight of the generator as it is, in [0, 1]."""
        self._weight = weight
        self.before: dict[str, Tensor] = {}

    def begin(self, generator: Generator) -> None:
        """Note the state before the first adversarial step; later calls change nothing."""
        if self._weight < 1 and not self.before:
            self.before = copied(generator.state_dict())

    @torch.no_grad()
    def __call__(self, generator: Generator) -> Generator:
        """The mean; the generator itself where there is nothing to average."""
        if not self.before:
            return generator
        mean = copy.deepcopy(generator)
        for name, tensor in mean.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(self.before[name].to(tensor.device), 1 - self._weight)
        return mean
