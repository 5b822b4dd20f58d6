"""Colour black-and-white photographs with class-specific conditional GANs.

import colorgan

color = colorgan.load()
color("photo.jpg").save("coloured.png")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from colorgan.version import __version__

if TYPE_CHECKING:
    from colorgan.inference.loaded import LoadedModels
    from colorgan.inference.object_choice import ObjectConfig

__all__ = ["__version__", "load"]


def load(
    storage: str | None = None,
    models: str | Sequence[str] | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    render_size: int | None = None,
    objects: ObjectConfig | None = None,
) -> LoadedModels:
    """Load models that colour photographs.

    Args:
        storage: the storage with your own models, a folder or s3://bucket/prefix; by default
            $COLORGAN_STORAGE, or artifacts/. The embedded models stand in for those it lacks. Or
            a repository of the Hugging Face Hub, hf://owner/name or hf://owner/name@REVISION: if
            it has one model, that colours every photograph.
        models: None colours each photograph with the model of its class; `embedded` does the same
            with the embedded models only; `general`, `animals` or `animals@VERSION` colours every
            photograph with that model; `objects` colours each object that a detector finds with the
            model of its class, and the rest with `general`; a list of `animals@VERSION` pins
            versions of class models.
        device: the device that runs the networks; auto uses a GPU if there is one.
        render_size: the side of the square that the generators see, in pixels, a multiple of 32; by
            default the one that each was trained on.
        objects: the options of `objects`, such as its detector.

    Returns:
        A callable that takes a photograph and returns it coloured: see `LoadedModels`.

    Raises:
        NotInStorage: the model does not exist, or a class has no model.
        ConfigError: a model cannot take the render size.
        ColorganError: a model cannot be read, or the device is not available.
    """
    from colorgan.inference.loaded import load_models  # importing PyTorch takes seconds

    return load_models(storage, models, device, render_size, objects)
