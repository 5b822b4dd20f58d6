"""Whatever colours: a network with its `config`, from lightness to colour in its colour space."""

from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator

Generator = UNetGenerator | EncoderUNetGenerator | HypercolumnNetwork
