"""Files with the weights of networks: state dicts, given by a user or in torchvision's cache."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from colorgan.errors import ColorganError, ConfigError, Corrupt

# Some names in torchvision's files for DenseNet have an additional dot.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, .safetensors or from torch.save, without running code of the file.

    Raises:
        ConfigError: there is no such file.
        Corrupt: it cannot be read, or is something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except Exception as error:  # PyTorch, pickle, zip and safetensors each raise their own
        reason = " ".join(str(error).split())[:120]
        raise Corrupt(f"{path} cannot be read as weights; is it cut short? ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise Corrupt(f"{path} is not a state dict: it must map names to tensors")
    return state


def fill(network: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Load the weights into a network on the device `meta`; raises Corrupt if they do not match."""
    state = {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    expected = network.state_dict()
    wrong = [
        key
        for key in {*expected, *state}
        if not key.endswith(".num_batches_tracked")  # absent from older files
        and (key not in expected or key not in state or expected[key].shape != state[key].shape)
    ]
    if wrong:
        raise Corrupt(
            f"{path} does not hold the weights of {name}: {len(wrong)} of {len(expected)} tensors "
            f"are missing or of another shape, such as {min(wrong)}"
        )
    network.load_state_dict(state, assign=True)
    network.float()


def fetch(name: str, url: str, way_out: str) -> Path:
    """The path of torchvision's weights in its cache, downloaded if they are not there.

    Args:
        name: the network's name, for the message.
        url: the address of the weights.
        way_out: what else the user can do, for the message.

    Raises:
        ColorganError: they are not there and cannot be downloaded.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", file_name(url))
    if path.exists():
        return path
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise ColorganError(
            f"the weights of {name} are not at {path} and cannot be downloaded ({error}): put "
            f"{url} there, {way_out}"
        ) from None
    return path


def file_name(url: str) -> str:
    """The name of the file at an address."""
    return Path(urlsplit(url).path).name
