"""The state of a training as files of a checkpoint, and back."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from colorgan.errors import Corrupt
from colorgan.training.config import TrainingConfig, stored_config
from colorgan.training.records import EpochRecord

# The files of a checkpoint.
STATE = "state.json"
TENSORS = "state.safetensors"

# Tensors of the one discriminator that there was, which have a prefix more among several.
_OLD_NAME = re.compile(r"^discriminator\.(?=convolutions|norms)")


@dataclass(frozen=True)
class Snapshot:
    """A training's whole state after an epoch, while the training itself goes on.

    Attributes:
        epoch: the last one that is done.
        tensors: of the networks and the optimisers by name, on the CPU.
        state: the configuration and the history.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint, from which `Training.load` goes on."""
        return {STATE: json.dumps(self.state).encode(), TENSORS: save(self.tensors)}


def read_files(
    files: Mapping[str, bytes],
) -> tuple[TrainingConfig, dict[str, Tensor], list[EpochRecord]]:
    """The configuration, the tensors by name and the history in the files of a snapshot.

    Raises:
        Corrupt: they cannot be read.
    """
    try:
        state = json.loads(files[STATE])
        config = stored_config(state["config"])
        tensors = load(files[TENSORS])
        history = [EpochRecord(**record) for record in state["history"]]
    except Exception as error:  # safetensors has one exception of its own for all faults
        raise Corrupt(f"the checkpoint cannot be read: {error}") from None
    named = {_OLD_NAME.sub("discriminator.patches.", name): each for name, each in tensors.items()}
    return config, named, history


@torch.no_grad()
def tensors_of(
    prefix: str, network: nn.Module, adam: torch.optim.Adam, stored: Collection[str]
) -> dict[str, Tensor]:
    """A network's tensors and those of its optimiser by name; they are their own, not copies.

    Args:
        prefix: of the names.
        network: of which what learns may have an optimiser's state.
        adam: the optimiser.
        stored: names of a state that is to be loaded; there is room for Adam's part of it.
    """
    tensors = {f"{prefix}.{key}": value for key, value in network.state_dict().items()}
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if f"{prefix}.{key}.exp_avg" in stored and not adam.state[parameter]:
            on = parameter.device if adam.defaults["fused"] else torch.device("cpu")
            adam.state[parameter] = {
                "step": torch.zeros((), device=on),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        for moment, value in adam.state[parameter].items():
            tensors[f"{prefix}.{key}.{moment}"] = value
    return tensors


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under names with a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def of_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
