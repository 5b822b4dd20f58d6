"""The position of a training within an epoch, which a checkpoint keeps beside the networks.

Everything that the remaining steps of an epoch depend on is here or in the networks and optimisers:
the order, crops and flips follow from (seed, epoch), and dropout continues from PyTorch's random
state.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from colorgan.data.batches import IN_MEMORY
from colorgan.errors import Corrupt
from colorgan.training.states import STATE, of_prefix

_PREFIX = "position."  # of the names of its tensors in a checkpoint
_LOSSES = "losses"


@dataclass
class Position:
    """The part of the current epoch that is done; between two epochs, nothing.

    Attributes:
        step: number of the epoch's steps done.
        seconds: time spent on them.
        waited: the part of it spent waiting for batches.
        losses: (3,) float32, the sums of the epoch's losses so far; None before the first step.
        random: PyTorch's random states after the step, uint8, by the type of device; only in a
            position that was loaded.
        order: the name of the order of the photographs; see `PhotoSource`.
    """

    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    losses: Tensor | None = None
    random: dict[str, Tensor] = field(default_factory=dict)
    order: str = IN_MEMORY

    def begin(self, device: torch.device, order: str) -> Tensor:
        """Continue the random numbers of a loaded position, in an order of the photographs.

        To be called where PyTorch is seeded for the epoch. Without the random state of the device,
        as after a change of device, its numbers begin as those of the epoch.

        Returns:
            The sums of the losses, on the device; the steps add theirs in place.
        """
        self.order = order
        if "cpu" in self.random:
            torch.set_rng_state(self.random["cpu"])
        if device.type in self.random and device.type == "cuda":
            torch.cuda.set_rng_state(self.random["cuda"], device)
        if self.losses is None:
            self.losses = torch.zeros(3, device=device)  # a copy would wait for the device
        self.losses = self.losses.to(device)
        return self.losses

    def tensors(self, device: torch.device) -> dict[str, Tensor]:
        """The tensors to keep, by name, on the CPU; to be called during the epoch's steps."""
        if not self.step:
            return {}
        assert self.losses is not None
        kept = {_LOSSES: self.losses.to("cpu", copy=True), "cpu": torch.get_rng_state()}
        if device.type == "cuda":
            kept["cuda"] = torch.cuda.get_rng_state(device)
        return {_PREFIX + name: tensor for name, tensor in kept.items()}

    def document(self) -> dict[str, dict[str, float | str]]:
        """The field `position` of the checkpoint's JSON; none between two epochs."""
        if not self.step:
            return {}
        numbers = {"step": self.step, "seconds": self.seconds, "waited": self.waited}
        return {"position": {**numbers, "order": self.order}}


def read_position(
    files: Mapping[str, bytes], tensors: Mapping[str, Tensor], order: str
) -> Position:
    """Read the position from a checkpoint; one between two epochs, or an older one, has none.

    An epoch that was begun in another order, or in one that cannot be repeated, begins again.

    Args:
        files: the checkpoint's files.
        tensors: its tensors by name.
        order: the name of the order in which the photographs come now; see `PhotoSource`.

    Raises:
        Corrupt: a number or a tensor is missing.
    """
    try:
        numbers = json.loads(files[STATE]).get("position")
        if numbers is None or not order or numbers.get("order", IN_MEMORY) != order:
            return Position(order=order)
        random = of_prefix(_PREFIX, tensors)
        losses = random.pop(_LOSSES)
        return Position(
            numbers["step"], numbers["seconds"], numbers["waited"], losses, random, order
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"the checkpoint's position cannot be read: {error!r}") from None
