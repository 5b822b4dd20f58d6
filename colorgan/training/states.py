"""Conversion between the state of a training and the files of a checkpoint."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from colorgan.errors import ConfigError, Corrupt
from colorgan.training.config import TrainingConfig, stored_config
from colorgan.training.records import EpochRecord

# The files of a checkpoint.
STATE = "state.json"
TENSORS = "state.safetensors"

# Earlier versions had a single discriminator, whose tensors' names lack the discriminator's name.
_OLD_NAME = re.compile(r"^discriminator\.(?=convolutions|norms)")


@dataclass(frozen=True)
class Snapshot:
    """A copy of a training's whole state after a step; the training itself continues.

    Attributes:
        epoch: the number of epochs done.
        tensors: the tensors of the networks, the optimisers and the position by name, on the CPU.
        state: the configuration, the history and the position within the current epoch.
        step: the number of steps of the current epoch that are done; 0 between two epochs.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    step: int = 0

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint, from which `Training.load` continues."""
        return {STATE: json.dumps(self.state).encode(), TENSORS: save(self.tensors)}


def read_files(
    files: Mapping[str, bytes],
) -> tuple[TrainingConfig, dict[str, Tensor], list[EpochRecord]]:
    """Read the configuration, the tensors by name and the history from a snapshot's files.

    Raises:
        Corrupt: the files cannot be read.
    """
    try:
        state = json.loads(files[STATE])
        config = stored_config(state["config"])
        tensors = load(files[TENSORS])
        history = [EpochRecord(**record) for record in state["history"]]
    except Exception as error:  # safetensors raises an exception type of its own
        raise Corrupt(f"the checkpoint cannot be read: {error}") from None
    named = {_OLD_NAME.sub("discriminator.patches.", name): each for name, each in tensors.items()}
    return config, named, history


@torch.no_grad()
def tensors_of(
    prefix: str, network: nn.Module, adam: torch.optim.Adam, stored: Collection[str]
) -> dict[str, Tensor]:
    """The tensors of a network and its optimiser by name; they are the originals, not copies.

    Args:
        prefix: the prefix of the names.
        network: the network; only its parameters that learn have an optimiser's state.
        adam: the optimiser.
        stored: names in a state about to be loaded; the missing moments of Adam are created.
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
    """Add a prefix to the names of tensors."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def of_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a prefix; the prefix is removed."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


@torch.no_grad()
def overwrite(ours: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Copy stored tensors into those of a training; raises ConfigError if they do not fit."""
    if any(n not in stored or stored[n].shape != each.shape for n, each in ours.items()):
        raise ConfigError("the checkpoint belongs to networks of another architecture")
    for name, tensor in ours.items():
        tensor.copy_(stored[name])


def load_if_it_fits(network: nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Load a network's state, unless a tensor is missing or has another shape."""
    ours = network.state_dict()
    if all(name in stored and stored[name].shape == each.shape for name, each in ours.items()):
        network.load_state_dict({name: stored[name] for name in ours})


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
