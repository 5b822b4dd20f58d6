"""Generators and routers as ONNX models, which onnxruntime runs without PyTorch and colorgan.

A model takes photographs as uint8 sRGB squares, `photographs` (batch, 3, size, size), and ignores
their colour. The batch may have any size. A generator returns `color`, (batch, color channels,
size, size) float32 in [-1, 1], as `Colorizer.generate` does; a router returns `scores`, (batch,
classes) float32. What a program needs besides stands in the model's metadata: see `_facts_of`.
"""

import copy
import importlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.errors import ColorganError, ConfigError
from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import prepare, recombine
from colorgan.inference.router import LabelRouter, Router
from colorgan.models.classifiers import Classifier
from colorgan.models.efficientnet_lite import fold_norms
from colorgan.models.generator import Generator, Look, Paint
from colorgan.models.view import View
from colorgan.version import __version__

OPSET = 18  # of ONNX, from 2022
LARGEST_DIFFERENCE = 1.0  # of 255, that an exported model may have from PyTorch's
_SCENES = 2  # drawn scenes of each class, on which both are compared


@dataclass(frozen=True)
class OnnxModel:
    """A network as an ONNX model.

    Attributes:
        data: the file.
        difference: the greatest difference from PyTorch's float32, in levels of 255: for a
            generator of any channel of the coloured pictures, for a router of any score.
    """

    data: bytes
    difference: float


def export_generator(generator: Generator, reference: str) -> OnnxModel:
    """Export a generator with all its weights, whatever its package names without holding it.

    Args:
        generator: a network as `load_generator` returns it, on the CPU.
        reference: the package, `model@version`, for the metadata.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ColorganError: PyTorch cannot export the network, or onnxruntime's result differs by more
            than LARGEST_DIFFERENCE.
    """
    config = generator.config
    facts = {
        "kind": "generator",
        "model": reference,
        "size": str(config.size),
        "color_space": config.color_space,
    }
    graph = _GeneratorGraph(generator, config.color_space)
    data = _export(graph, config.size, "color", facts)
    scenes = _scenes(config.size)
    batch = torch.stack([prepare(scene, config.size) for scene in scenes])

    def pictures(colors: Tensor) -> Tensor:
        pairs = zip(scenes, colors, strict=True)
        done = [recombine(scene, color, config.color_space) for scene, color in pairs]
        return torch.from_numpy(np.stack(done)).float()

    with torch.inference_mode():
        expected = pictures(graph(batch))
    difference = _greatest(pictures(run_onnx(data, batch)), expected)
    return OnnxModel(data, _checked(difference, reference))


def export_router(router: Router) -> OnnxModel:
    """Export a router and its classifier as one model.

    Args:
        router: a router in float32, as `open_router` returns it with `exact`.

    Raises:
        ConfigError: as `export_generator`.
        ColorganError: likewise.
    """
    view = router.classifier.view
    rule = router.rule if isinstance(router, LabelRouter) else None
    facts = {
        "kind": "router",
        "model": router.package or f"{router.name} {router.classifier.name}",
        "classes": json.dumps(router.classes),
        "threshold": str(rule.threshold if rule else 0.0),
        "fallback": rule.fallback if rule else router.classes[0],
        **_facts_of(view),
    }
    graph = _RouterGraph(router)
    data = _export(graph, view.side, "scores", facts)
    batch = torch.stack([view(scene, gray=False) for scene in _scenes(view.side)])
    with torch.inference_mode():
        expected = graph(batch)
    difference = _greatest(run_onnx(data, batch) * 255, expected * 255)
    return OnnxModel(data, _checked(difference, facts["model"]))


def run_onnx(data: bytes, photographs: Tensor) -> Tensor:
    """Run an exported model by onnxruntime, first on one photograph and then on all others.

    Args:
        data: the model's file.
        photographs: (batch, 3, size, size) uint8 sRGB; at least two.

    Returns:
        Its output for all of them, float32.
    """
    onnxruntime = _extra("onnxruntime")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    parts = (photographs[:1], photographs[1:])  # the size of the batch must not be fixed
    outputs = [session.run(None, {"photographs": each.numpy()})[0] for each in parts]
    return torch.from_numpy(np.concatenate(outputs))


class _Light(nn.Module):
    """Squares, (batch, 3, size, size) uint8 sRGB -> (batch, 1, size, size) light in [-1, 1]."""

    def __init__(self, color_space: ColorSpace) -> None:
        super().__init__()
        self._space: ColorSpace = color_space
        # It caches a matrix, which must not be made while a graph is recorded.
        self(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))

    def forward(self, photographs: Tensor) -> Tensor:
        return lab.encode(photographs, self._space)[0]


class _GeneratorGraph(nn.Module):
    def __init__(self, generator: Generator, color_space: ColorSpace) -> None:
        super().__init__()
        self.light = _Light(color_space)
        self.look = Look(generator)
        self.paint = Paint(generator, generator.config.size)

    def forward(self, photographs: Tensor) -> Tensor:
        colors: Tensor = self.paint(*self.look(self.light(photographs)))
        return colors


class _RouterGraph(nn.Module):
    def __init__(self, router: Router) -> None:
        super().__init__()
        classifier: Classifier = router.classifier
        self.light = _Light("lab" if classifier.view.light == "lightness" else "yuv")
        self.network = classifier.observed
        self._router = router

    def forward(self, photographs: Tensor) -> Tensor:
        light = (self.light(photographs) + 1) / 2
        features, logits, *_ = self.network(self._router.classifier.normalized(light))
        return self._router.score(features, logits.softmax(dim=1))


def _facts_of(view: View) -> dict[str, str]:
    """How a router's squares are cut, as metadata.

    `size` is the square's side. If there is a `resize`, photographs are first scaled to that short
    side, and the square is cut from their middle; otherwise the whole photograph is scaled to the
    square. `filter` is Pillow's name of the resampling filter.
    """
    resize = {} if view.resize is None else {"resize": str(view.resize)}
    return {"size": str(view.side), "filter": view.filter.name, **resize}


def _export(graph: nn.Module, size: int, output: str, facts: Mapping[str, str]) -> bytes:
    onnx = _extra("onnx")
    _extra("onnxscript")  # PyTorch's exporter is written in it
    _extra("onnxruntime")  # before minutes of work
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    folded = copy.deepcopy(graph).eval().requires_grad_(False)
    fold_norms(folded)  # a third of the export's time
    try:
        program = torch.onnx.export(
            folded,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["photographs"],
            output_names=[output],
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ColorganError(f"PyTorch cannot export {facts['model']} as ONNX: {reason}") from error
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"colorgan": __version__, **facts})
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces, with paths of this machine
    data: bytes = model.SerializeToString()
    return data


def _scenes(size: int) -> Sequence[Pixels]:
    """Drawn scenes, (size, size, 3) uint8 each, of every class."""
    return [draw_scene(name, seed, size, size) for name in CLASSES for seed in range(_SCENES)]


def _greatest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def _checked(difference: float, reference: str) -> float:
    if not difference <= LARGEST_DIFFERENCE or math.isnan(difference):
        raise ColorganError(
            f"{reference} gives other results by onnxruntime than by PyTorch: they differ by "
            f"{difference:.1f} of 255, and {LARGEST_DIFFERENCE:g} is allowed; nothing is written"
        )
    return difference


def _extra(module: str) -> Any:
    """Import a module of the extra; raises ConfigError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"exporting ONNX needs an extra ({error}): pip install 'colorgan[onnx]'"
        ) from None
