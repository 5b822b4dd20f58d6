"""The classifying baseline: a fully convolutional network that predicts distributions of colours.

R. Zhang, P. Isola and A. A. Efros, "Colorful Image Colorization" (ECCV 2016),
<https://arxiv.org/abs/1603.08511>; pix2pix was compared with it.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.images.lab import AB_SCALE
from colorgan.models.architectures import CicConfig
from colorgan.models.gamut import BINS, TEMPERATURE, annealed_mean, bins_in_gamut, class_weights
from colorgan.models.state_files import fill, read_state

_STRIDE = 4  # pixels of the input for each place of the output


class CicNetwork(nn.Module):
    """Lightness in, a and b out, through a distribution over the bins of `models.gamut`.

    The layers are those of the paper's table 4, conv1_1 to conv8_3: eight blocks of convolutions
    with ReLU, of which the first seven end in batch normalisation. Blocks 1 to 3 halve the side,
    blocks 5 and 6 are dilated by 2, and block 8 doubles the side. Layers are numbered as in the
    authors' weights for PyTorch, so that those fit: see `read_published`.

    Attributes:
        config: the architecture.
        prior: (BINS,) the smoothed probability of each bin among the colours of the training
            photographs; uniform until a training has measured it.
    """

    prior: Tensor

    def __init__(self, config: CicConfig) -> None:
        """Build the network, with random weights (He et al. 2015)."""
        super().__init__()
        self.config = config
        one, two, four, eight = (config.width * factor for factor in (1, 2, 4, 8))
        self.model1 = _block(1, (one, one), stride=2)
        self.model2 = _block(one, (two, two), stride=2)
        self.model3 = _block(two, (four, four, four), stride=2)
        self.model4 = _block(four, (eight, eight, eight))
        self.model5 = _block(eight, (eight, eight, eight), dilation=2)
        self.model6 = _block(eight, (eight, eight, eight), dilation=2)
        self.model7 = _block(eight, (eight, eight, eight))
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(eight, four, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(four, four, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(four, four, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(four, BINS, 1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        # In the authors' weights, the bins are the kernel of a last convolution, which is fixed.
        self.model_out = nn.Conv2d(BINS, 2, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.model_out.weight.copy_(bins_in_gamut().T[:, :, None, None] / AB_SCALE)
        self.register_buffer("prior", torch.full((BINS,), 1 / BINS))

    @property
    def bins(self) -> Tensor:
        """The bins' a and b, (BINS, 2) in Lab units, in the order of the logits."""
        return self.model_out.weight.detach()[:, :, 0, 0].T.float() * AB_SCALE

    @property
    def class_weights(self) -> Tensor:
        """The weights of the bins in the loss, (BINS,); see `gamut.class_weights`."""
        return class_weights(self.prior)

    def logits(self, lightness: Tensor) -> Tensor:
        """The distribution of the colour of each place.

        Args:
            lightness: (batch, 1, height, width) in [-1, 1]; height and width are multiples of 8.

        Returns:
            (batch, BINS, height / 4, width / 4), of which the softmax is the distribution.
        """
        x = lightness / 2  # L, centred by 50 and divided by 100, as the authors' weights take it
        for block in (self.model1, self.model2, self.model3, self.model4):
            x = block(x)
        for block in (self.model5, self.model6, self.model7, self.model8):
            x = block(x)
        return x

    def forward(self, lightness: Tensor, noise: bool = False) -> Tensor:
        """Colour a batch by the annealed means of the distributions.

        Args:
            lightness: as for `logits`.
            noise: ignored, because this network has no dropout.

        Returns:
            (batch, 2, height, width) in [-1, 1], scaled up bilinearly from a quarter of the side.
        """
        bins = self.model_out.weight[:, :, 0, 0].T
        ab = annealed_mean(self.logits(lightness), bins, TEMPERATURE)
        return F.interpolate(ab, scale_factor=_STRIDE, mode="bilinear", align_corners=False)

    @staticmethod
    def targets(color: Tensor) -> Tensor:
        """The colours that the output's places are to have: a and b of one pixel in each 4 x 4.

        As in the authors' training, a place gets the colour of a single pixel, because a mean of
        several would be paler than each of them.

        Args:
            color: (batch, 2, height, width) in [-1, 1].

        Returns:
            (batch, 2, height / 4, width / 4) in Lab units.
        """
        middle = _STRIDE // 2
        return color[:, :, middle::_STRIDE, middle::_STRIDE].float() * AB_SCALE


def read_published(config: CicConfig, path: Path) -> CicNetwork:
    """A network with the weights of a file that the authors' PyTorch code has or would write.

    Their network applies a softmax to logits that its file has already divided by the temperature;
    here the division is part of the network, so the last layer is multiplied by it.

    Args:
        config: the architecture; the authors' has the width 64.
        path: a state dict, .safetensors or from torch.save, with the names of the authors' class
            `ECCVGenerator`.

    Raises:
        ConfigError: there is no such file.
        Corrupt: it cannot be read, or has the weights of another architecture.
    """
    network = CicNetwork(config)
    state = {"prior": network.prior, **read_state(path)}
    fill(network, state, f"cic with the width {config.width}", path)
    with torch.no_grad():
        for parameter in network.model8[-1].parameters():
            parameter.mul_(TEMPERATURE)
    return network.eval()


def _block(
    before: int, channels: tuple[int, ...], stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolutions with ReLU and a normalisation; the last convolution has the stride."""
    layers: list[nn.Module] = []
    for place, after in enumerate(channels):
        step = stride if place == len(channels) - 1 else 1
        layers += [
            nn.Conv2d(before, after, 3, step, padding=dilation, dilation=dilation),
            nn.ReLU(),
        ]
        before = after
    return nn.Sequential(*layers, nn.BatchNorm2d(before))
