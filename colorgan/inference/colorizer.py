"""Colouring photographs of any size with a trained generator."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Levels, Pixels, resize_square
from colorgan.inference import variants
from colorgan.inference.compilation import compile_network
from colorgan.models.backbones import same_weights
from colorgan.models.classifiers import Classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator, Look, Paint, noise_channels
from colorgan.models.noise import Numbers
from colorgan.models.precision import fastest_dtype, in_use
from colorgan.models.unet import UNetGenerator
from colorgan.models.view import whole_lightness

VIVID = 2.0  # the largest useful vividness
LARGEST_SQUARE = 1024  # largest side of the square that a generator can be made to see

# Full-resolution colours are computed in strips of about this many pixels, to bound memory.
_STRIP_PIXELS = 2_000_000
_LONGEST = 65_536  # pixels in a row


@dataclass(frozen=True)
class Touch:
    """A change of the colours of a part of a photograph, at the photograph's own size.

    Attributes:
        top: the first row of the part.
        left: the first column of the part.
        change: (color channels, height, width) float32, added to colours in [-1, 1].
    """

    top: int
    left: int
    change: npt.NDArray[np.float32]

    def turned(self) -> "Touch":
        """The same of a photograph with rows and columns exchanged."""
        return Touch(self.left, self.top, self.change.transpose(0, 2, 1))

    def apply(self, colors: Tensor, first: int) -> None:
        """Change the rows from `first` on, (color channels, rows, width), in place."""
        start = max(self.top, first)
        end = min(self.top + self.change.shape[1], first + colors.shape[1])
        if start < end:
            part = torch.from_numpy(self.change[:, start - self.top : end - self.top].copy())
            colors[:, start - first : end - first, self.left : self.left + part.shape[2]] += part


class Colorizer:
    """Colours photographs of any size, at the same size.

    The generator sees the whole photograph as a square of its own size. In the colour space `lab`,
    its a and b are scaled up and joined with the photograph's own lightness, which stays sharp at
    full resolution. In `yuv`, U and V are joined with the photograph's luma in the same way. In
    `rgb`, the generator's picture itself is scaled.

    Attributes:
        deviation: the standard deviation of the noise of variants.
    """

    def __init__(self, generator: Generator, size: int | None = None) -> None:
        """Take a trained network, on the device that it is to run on.

        It computes in the fastest type of that device; see `colorgan.models.precision`.

        Args:
            generator: the network.
            size: the side of the square that it sees, in pixels; by default the one that it was
                trained on.

        Raises:
            ConfigError: the network cannot take that size.
        """
        self.generator = generator.eval()
        self.config = generator.config
        self.size = self.config.size if size is None else check_render_size(generator, size)
        self.device = next(generator.parameters()).device
        self.dtype = fastest_dtype(self.device)
        self.deviation = variants.DEVIATION
        self._network = in_use(generator)
        self._look: Callable[..., Sequence[Tensor]] = Look(self._network)
        self._paint = Paint(self._network, self.size)
        self._compiled_paint: Callable[..., Tensor] | None = None

    def share_encoder(self, others: Iterable["Colorizer"]) -> None:
        """Use the encoder of another colorizer that has the same weights, and free one's own.

        Call it before `compile`. A frozen encoder is most of a generator's memory.
        """
        ours = self.generator
        for other in others:
            theirs = other.generator
            if (
                isinstance(ours, EncoderUNetGenerator)
                and isinstance(theirs, EncoderUNetGenerator)
                and (self.device, self.dtype) == (other.device, other.dtype)
                and _equal(ours.encoder, theirs.encoder)
            ):
                ours.encoder = theirs.encoder
                self._network.encoder = other._network.encoder
                self._look = Look(self._network)
                return

    def compile(self, look: bool = True) -> None:
        """Compile the generator for the CPU; on another device this does nothing.

        Args:
            look: whether to compile both steps of the generator, and not only `paint`.

        Raises:
            ColorganError: it cannot be compiled.
        """
        if self.device.type != "cpu":
            return
        example = torch.zeros(1, 1, self.size, self.size)
        step = Look(self._network)
        with torch.no_grad():
            features = step(example.to(self.dtype))
        if look and step.encoder is not None:  # otherwise there is nothing to compile
            self._look = compile_network(step, example, dtype=self.dtype)
        self._compiled_paint = compile_network(self._paint, *features, dtype=self.dtype)

    def __call__(
        self, photographs: Sequence[Pixels], noise: bool = False, vividness: float = 1.0
    ) -> list[Pixels]:
        """Colour photographs as one batch; the colours of each depend on that photograph alone.

        Args:
            photographs: (height, width, 3) uint8 sRGB each, of any sizes; any colour in them is
                ignored.
            noise: keep dropout active, so that every call returns another colouring.
            vividness: see `recombine`.

        Returns:
            (height, width, 3) uint8 sRGB each, of the same sizes.
        """
        if not photographs:
            return []
        return [
            recombine(photograph, color, self.config.color_space, vividness)
            for photograph, color in zip(photographs, self.look(photographs, noise), strict=True)
        ]

    def look(self, photographs: Sequence[Pixels], noise: bool = False) -> Tensor:
        """Generate the colours of photographs as one batch; arguments as for a call.

        Returns:
            As `generate`.
        """
        batch = torch.stack([prepare(photograph, self.size) for photograph in photographs])
        return self.generate(batch, noise)

    def generate(self, batch: Tensor, noise: bool = False) -> Tensor:
        """Generate the colours of prepared photographs.

        Args:
            batch: (batch, 3, size, size) uint8 sRGB; any colour in it is ignored.
            noise: keep dropout active.

        Returns:
            (batch, color channels, size, size) float32 in [-1, 1], on the CPU.
        """
        return self.paint(self.encode(batch), noise)

    def generate_variants(self, batch: Tensor, numbers: Sequence[Numbers]) -> list[Tensor]:
        """Generate variants of prepared photographs; only the decoder runs for each of them.

        Args:
            batch: as in `generate`.
            numbers: for each photograph, the numbers of its variants; 1 is what `generate` returns.

        Returns:
            For each photograph (variants, color channels, size, size), as `generate`.

        Raises:
            ConfigError: the generator has no noise, and another number than 1 is asked for.
        """
        return self.paint_variants(self.encode(batch), numbers)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Sequence[Tensor]:
        """The features of prepared photographs, (batch, 3, size, size) uint8 sRGB; see `Look`."""
        if self.config.color_space == "yuv":
            light, _ = lab.encode(batch, "yuv")
        else:  # bit-identical to the input of a classifier with this view
            pixels = batch.permute(0, 2, 3, 1).cpu().numpy()
            light = torch.from_numpy(lab.lightness(pixels))[:, None] * 2 - 1
        return self._look(light.to(self.device, self.dtype))

    @torch.inference_mode()
    def paint(self, features: Sequence[Tensor], noise: bool = False) -> Tensor:
        """Generate the colours of photographs from their features.

        Args:
            features: the features of the photographs, by the generator's own encoder or by a
                classifier for which `sees_alike` is true; see `Look`.
            noise: as in `generate`.

        Returns:
            As `generate`.
        """
        color: Tensor
        if self._compiled_paint and not noise:
            color = self._compiled_paint(*features)
        else:
            color = self._paint(*features, noise=noise)
        return color.cpu()

    @torch.inference_mode()
    def paint_variants(
        self, features: Sequence[Tensor], numbers: Sequence[Numbers]
    ) -> list[Tensor]:
        """Generate variants from the features of `paint`; see `generate_variants`."""

        def drawn(some: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
            variants.check_noise([("this model", self.config)])
            channels = noise_channels(self.generator)
            if not channels:
                return variants.paint_dropout(self.paint, some, chosen, self.device)
            z = variants.noise_rows(channels, chosen, self.deviation).to(self.device)
            return cast(Tensor, self._paint(*some, z=z)).cpu()

        return variants.paint_numbers(features, numbers, self.paint, drawn)

    def sees_alike(self, classifier: Classifier) -> bool:
        """Whether a classifier's `maps` equal the features of the generator's own encoder.

        This requires the same weights, the same view of the photograph, device and dtype.
        """
        generator = self.generator
        return (
            isinstance(generator, EncoderUNetGenerator)
            and generator.config.encoder == classifier.name
            and classifier.view == whole_lightness(self.size)
            and (classifier.device, classifier.dtype) == (self.device, self.dtype)
            and same_weights(generator.encoder, classifier.name, classifier.network)
        )


def _equal(ours: nn.Module, theirs: nn.Module) -> bool:
    """Whether two networks have the same tensors, by name."""
    mine, others = ours.state_dict(), theirs.state_dict()
    return mine.keys() == others.keys() and all(
        torch.equal(mine[name], others[name]) for name in mine
    )


def check_render_size(generator: Generator, size: int) -> int:
    """Return the size of a generator's square input; raises ConfigError if it cannot be one."""
    # A U-Net halves its own size down to one pixel; the others take what their strides divide.
    whole = generator.config.size if isinstance(generator, UNetGenerator) else 0
    step, least = whole or 32, whole or 64
    most = max(least, LARGEST_SQUARE // step * step)
    if size % step or not least <= size <= most:
        raise ConfigError(
            f"render size {size} does not fit the model: choose a multiple of {step}, from {least} "
            f"to {most}"
        )
    return size


def prepare(photograph: Pixels, size: int) -> Tensor:
    """Scale a (height, width, 3) photograph to a generator's input: (3, size, size) uint8."""
    return torch.from_numpy(resize_square(photograph, size).copy()).permute(2, 0, 1)


def recombine(
    photograph: Pixels,
    color: Tensor,
    color_space: ColorSpace,
    vividness: float = 1.0,
    touches: Sequence[Touch] = (),
) -> Pixels:
    """Join a photograph and its generated colours at the photograph's own size.

    Args:
        photograph: (height, width, 3) uint8 sRGB; any colour in it is ignored.
        color: (color channels, size, size) floating point in [-1, 1], as `generate` returns it.
        color_space: the colour space that the generator writes.
        vividness: the factor that multiplies the chroma: 0 gives gray, 1 the generator's colours;
            VIVID is the largest useful value.
        touches: changes of the colours at the photograph's own size.

    Returns:
        (height, width, 3) uint8 sRGB.
    """
    height, width = photograph.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    top = 0
    for strip in recombined_strips(photograph, color, color_space, vividness, touches):
        out[top : top + len(strip)] = strip
        top += len(strip)
    return out


def recombined_strips(
    photograph: Pixels,
    color: Tensor,
    color_space: ColorSpace,
    vividness: float = 1.0,
    touches: Sequence[Touch] = (),
    deep: Levels | None = None,
) -> Iterator[Pixels | Levels]:
    """`recombine` for one strip of rows after the other, from the top, to bound memory.

    Args:
        photograph: as in `recombine`.
        color: as in `recombine`.
        color_space: as in `recombine`.
        vividness: as in `recombine`.
        touches: as in `recombine`.
        deep: (height, width) uint16, the sRGB gray level of the photograph's lightness L. The
            colouring then has 16 bits, except in `rgb`, which has no lightness of the photograph.

    Yields:
        (rows, width, 3) uint8, or uint16, sRGB.
    """
    height, width = photograph.shape[:2]
    if width > _LONGEST:  # strips of rows would take too much memory
        turned = recombined_strips(
            photograph.transpose(1, 0, 2),
            color.transpose(1, 2),
            color_space,
            vividness,
            [touch.turned() for touch in touches],
            None if deep is None else deep.T,
        )
        yield np.concatenate([strip.transpose(1, 0, 2) for strip in turned], axis=1)
        return
    if color_space != "rgb":
        color = (color * vividness).clamp(-1, 1)
    stretched = _Stretched(color, height, width)
    for strip in _strips(height, width):
        full = stretched.rows(strip)
        for touch in touches:
            touch.apply(full, strip.start)
        if color_space == "lab" and deep is None:
            yield lab.recolor(photograph[strip], full.numpy())
        elif color_space == "lab" and deep is not None:
            yield lab.recolor_deep(deep[strip], full.numpy())
        else:
            levels = None if deep is None else deep[strip]
            yield _decoded(photograph[strip], full, color_space, vividness, levels)


def _decoded(
    rows: Pixels, color: Tensor, color_space: ColorSpace, vividness: float, deep: Levels | None
) -> Pixels | Levels:
    """Rows of a photograph joined with their colours in `yuv` or `rgb`."""
    if color_space == "yuv" and deep is not None:
        luma = torch.from_numpy(deep.astype(np.float32) / 65535)[None] * 2 - 1
        colored = lab.decode(luma[None], color[None], "yuv")[0].permute(1, 2, 0)
        levels: Levels = (colored * 65535).round().numpy().astype(np.uint16)
        return levels
    pixels = torch.from_numpy(np.array(rows)).permute(2, 0, 1)[None]
    lightness, _ = lab.encode(pixels, color_space)
    colored = lab.decode(lightness, color[None], color_space)
    if color_space == "rgb" and vividness != 1:
        channels = lab.rgb_to_lab(colored)
        channels[:, 1:] *= vividness
        colored = lab.lab_to_rgb(channels)
    return _to_pixels(colored[0])


def grayscale(rgb: Pixels) -> Pixels:
    """A photograph's lightness L alone, as a neutral gray picture: (height, width, 3) uint8."""
    pixels = rgb.reshape(-1, 1, 3)
    out = np.empty_like(pixels)
    for strip in _strips(*pixels.shape[:2]):
        out[strip] = lab.recolor(pixels[strip], np.zeros((2, *pixels[strip].shape[:2]), np.float32))
    return out.reshape(rgb.shape)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Slices of a picture's rows, one per strip."""
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


class _Stretched:
    """Colours scaled to a photograph's size; only the requested rows are computed."""

    def __init__(self, color: Tensor, height: int, width: int) -> None:
        """Take (channels, size, size) float32 colours, and the size to scale them to in pixels."""
        size = color.shape[1]
        lines = min(height, size)
        # Antialiasing matters where the photograph is smaller than the generator's input. Each
        # direction is scaled by itself: in one call, PyTorch 2.14 is wrong at a width of one pixel.
        if lines < size:
            color = resized(color, lines, size)
        self._lines = resized(color, lines, width)
        self._step = lines / height

    def rows(self, strip: slice) -> Tensor:
        """Compute (channels, rows, width) float32, bilinearly between the stored lines."""
        if self._step == 1:
            return self._lines[:, strip]
        last = self._lines.shape[1] - 1
        place = ((torch.arange(strip.start, strip.stop) + 0.5) * self._step - 0.5).clamp(0, last)
        above = place.long()
        share = (place - above)[:, None]
        return torch.lerp(self._lines[:, above], self._lines[:, (above + 1).clamp(max=last)], share)


def colors_at(
    color: Tensor, height: int, width: int, points: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """The colours that `recombine` gives to points of a photograph, before any touches.

    Args:
        color: (color channels, size, size) floating point in [-1, 1].
        height: the photograph's, in pixels.
        width: the photograph's, in pixels.
        points: row and column of each point.

    Returns:
        (points, color channels) float32.
    """
    if width > _LONGEST:
        turned = [(x, y) for y, x in points]
        return colors_at(color.transpose(1, 2), width, height, turned)
    stretched = _Stretched(color, height, width)
    return np.stack([stretched.rows(slice(y, y + 1))[:, 0, x].numpy() for y, x in points])


def resized(color: Tensor, height: int, width: int) -> Tensor:
    """Scale (channels, …, …) colours bilinearly, with antialiasing."""
    scaled: Tensor = F.interpolate(color[None], (height, width), mode="bilinear", antialias=True)[0]
    return scaled


def _to_pixels(rgb: Tensor) -> Pixels:
    """Convert (3, height, width) sRGB in [0, 1] to (height, width, 3) uint8."""
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
