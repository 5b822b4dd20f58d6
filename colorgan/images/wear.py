"""Simulated wear of old prints: noise, blur, fading, scratches and spots, vignettes and borders."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from colorgan.images.decoding import Pixels

Gray = npt.NDArray[np.float64]

# Each kind of wear is simulated with this probability, so a print has about two of them.
_CHANCE = 0.4


def worn(rgb: Pixels, random: np.random.Generator) -> Pixels:
    """Simulate a worn black-and-white print of a photograph.

    Lengths are shares of the shorter side, so that photographs of any size are worn alike.

    Args:
        rgb: (height, width, 3) uint8 sRGB.
        random: what decides on the kinds of wear and their strengths.

    Returns:
        (height, width, 3) uint8 without colour; larger by up to a quarter where there is a border.
    """
    gray: Gray = np.asarray(Image.fromarray(rgb).convert("L")) / 255
    for kind in (_vignette, _blur, _scratch, _fade, _noise, _border):
        if random.random() < _CHANCE:
            gray = kind(gray, random)
    levels = (gray.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def _vignette(gray: Gray, random: np.random.Generator) -> Gray:
    """Darken the corners."""
    height, width = gray.shape
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    strength = random.uniform(0.2, 0.8)
    light: Gray = (1.2 - strength * (down**2 + across**2)).clip(0.1, 1)
    return gray * light


def _blur(gray: Gray, random: np.random.Generator) -> Gray:
    radius = random.uniform(0.002, 0.02) * min(gray.shape)
    image = Image.fromarray((gray.clip(0, 1) * 255).round().astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))) / 255


def _scratch(gray: Gray, random: np.random.Generator) -> Gray:
    """Draw bright lines from top to bottom, and bright and dark spots."""
    height, width = gray.shape
    side = min(gray.shape)
    gray = gray.copy()
    breadth = max(1, round(random.uniform(0.002, 0.006) * side))
    for left in random.integers(0, max(1, width - breadth), random.integers(1, 20)):
        gray[:, left : left + breadth] = random.uniform(0.8, 1)
    size = max(1, round(random.uniform(0.003, 0.012) * side))
    for _ in range(random.integers(0, 200)):
        top, left = random.integers(0, height), random.integers(0, width)
        gray[top : top + size, left : left + size] = random.choice([0.03, 0.97])
    return gray


def _fade(gray: Gray, random: np.random.Generator) -> Gray:
    """Reduce the contrast, around any brightness that stays within [0, 1]."""
    contrast = random.uniform(0.1, 0.7)
    return random.uniform(0, 1 - contrast) + contrast * gray


def _noise(gray: Gray, random: np.random.Generator) -> Gray:
    return gray + random.normal(0, random.uniform(0.02, 0.15), gray.shape)


def _border(gray: Gray, random: np.random.Generator) -> Gray:
    """Add a margin of paper."""
    margin = max(1, round(random.uniform(0.03, 0.12) * min(gray.shape)))
    return np.pad(gray, margin, constant_values=random.uniform(0.8, 1))
