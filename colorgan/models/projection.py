"""The projection discriminator (Miyato and Koyama 2018, section 3), for patches."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.nn.utils.parametrizations import spectral_norm

from colorgan.models.architectures import Norm
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.pictures import Colored

_DEVIATION = 0.02  # of the embedding's initial weights, as of all others


class ProjectionDiscriminator(PatchDiscriminator):
    """A PatchGAN that is given the class of each photograph.

    For the class y of a picture x, the paper's discriminator (its figure 1d) is

        D(x, y) = psi(phi(x)) + <e(y), phi(x)>

    with a vector e(y) for each class. Here phi is all but the last layer of the PatchGAN, and psi
    its last layer. A logit's phi is the mean of the maps over the 4 x 4 window that the last layer
    sees for it, so both terms judge the same patch.
    """

    def __init__(
        self,
        color_channels: int,
        classes: int,
        width: int = 64,
        norm: Norm = "instance",
        spectral: bool = False,
    ) -> None:
        """Build the network with random weights.

        Args:
            color_channels: number of channels that the generator writes.
            classes: number of classes.
            width: as for `PatchDiscriminator`.
            norm: likewise.
            spectral: likewise; the vectors of the classes are then normalised together, as the rows
                of a matrix.
        """
        super().__init__(color_channels, width, norm, spectral)
        self.embedding = nn.Embedding(classes, 8 * width)
        nn.init.normal_(self.embedding.weight, 0.0, _DEVIATION)
        if spectral:
            spectral_norm(self.embedding)

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch, whose `labels` are below the number of classes; see the base class."""
        assert picture.labels is not None
        maps = self.maps(picture)
        products = (maps * self.embedding(picture.labels)[:, :, None, None]).sum(1, keepdim=True)
        return [self.logits(maps) + F.avg_pool2d(products, 4, stride=1, padding=1)]
