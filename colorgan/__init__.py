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

__all__ = ["__version__", "load"]


def load(
    storage: str | None = None,
    models: str | Sequence[str] | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> LoadedModels:
    """Load models that colour photographs.

    Args:
        storage: where models of one's own are, a folder or s3://bucket/prefix; by default
            $COLORGAN_STORAGE, or artifacts/. A model that it has not comes with colorgan.
        models: None colours each photograph with the model of its class; `embedded` does so with
            the models that come with colorgan alone; `general`, `animals` or `animals@VERSION`
            colours all with one; a list of `animals@VERSION` takes these versions of class models.
        device: where the networks are to work; auto takes a GPU where there is one.

    Returns:
        What is called with a photograph and returns it coloured: see `LoadedModels`.

    Raises:
        NotInStorage: there is no such model, or not one of every class.
        ColorganError: a model cannot be read, or the device is not there.
    """
    from colorgan.inference.loaded import load_models  # PyTorch takes seconds to import

    return load_models(storage, models, device)
