"""Colour black-and-white photographs with class-specific conditional GANs."""

__version__ = "0.1.0"
