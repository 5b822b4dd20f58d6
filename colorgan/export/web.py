"""A folder with which a browser colours photographs: a page, the models, and what runs them.

Any server of static files serves it. The models are those of `colorgan.export.onnx`; the weights
that they share, above all the encoder's, lie in WEIGHTS once. `models.json` names all that the page
loads, with sizes in bytes, and has the models' metadata.
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from colorgan.names import ROUTER
from colorgan.version import __version__

WEIGHTS = "weights.bin"
MODELS = "models.json"

_SMALLEST = 1024  # bytes of a tensor below which it stays in its model
_ALIGNMENT = 64
_LOOK = ("style.css", "icon.svg")  # shared with the pages of the service


def page_files() -> dict[str, bytes]:
    """The page, its scripts and styles, by name."""
    ours = resources.files("colorgan.export") / "page"
    theirs = resources.files("colorgan.web") / "page"
    files = {each.name: each.read_bytes() for each in ours.iterdir()}
    return files | {name: (theirs / name).read_bytes() for name in _LOOK}


def model_files(models: Mapping[str, bytes], runtime: Mapping[str, bytes]) -> dict[str, bytes]:
    """The models and what runs them, by name; MODELS comes last.

    Args:
        models: the exported router as `router`, and by class the generators, which write Lab.
        runtime: see `colorgan.export.runtime`.
    """
    facts = {name: dict(_facts(data)) for name, data in models.items()}
    files = {**_pooled(models), **runtime}
    router = facts.pop(ROUTER)
    document = {
        "colorgan": __version__,
        "files": {name: len(data) for name, data in files.items() if name != "onnxruntime.js"},
        "router": {
            **_square(router),
            "model": router["model"],
            "classes": json.loads(router["classes"]),
            "threshold": float(router["threshold"]),
            "fallback": router["fallback"],
        },
        "generators": {
            name: {**_square(fact), "model": fact["model"]} for name, fact in facts.items()
        },
    }
    return {**files, MODELS: json.dumps(document, indent=2).encode()}


def _square(facts: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: int(facts[name]) for name in ("size", "resize") if name in facts}
    return {**numbers, "filter": facts.get("filter", "BICUBIC")}


def _facts(data: bytes) -> Iterator[tuple[str, str]]:
    onnx: Any = importlib.import_module("onnx")
    for prop in onnx.load_model_from_string(data).metadata_props:
        yield prop.key, prop.value


def _pooled(models: Mapping[str, bytes]) -> dict[str, bytes]:
    """Models whose larger tensors lie in WEIGHTS, equal ones once; as files, by name."""
    onnx: Any = importlib.import_module("onnx")
    helper: Any = importlib.import_module("onnx.external_data_helper")
    pool, places = bytearray(), dict[bytes, int]()
    files = {}
    for name, data in models.items():
        model = onnx.load_model_from_string(data)
        for tensor in model.graph.initializer:
            values = tensor.raw_data
            if len(values) < _SMALLEST:
                continue
            if values not in places:
                pool.extend(bytes(-len(pool) % _ALIGNMENT))
                places[values] = len(pool)
                pool.extend(values)
            helper.set_external_data(tensor, WEIGHTS, places[values], len(values))
            tensor.ClearField("raw_data")
        files[f"{name}.onnx"] = model.SerializeToString()
    return {**files, WEIGHTS: bytes(pool)}
