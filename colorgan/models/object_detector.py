"""A small detector: FCOS (Tian et al. 2019) on a frozen classifier's features."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from colorgan.models.architectures import DetectorConfig
from colorgan.models.backbones import Features

_STRIDES = (8, 16, 32)
_HALF = (0.5, 0.5, 0.5)  # the mean and deviation by which [0, 1] becomes [-1, 1]


class ObjectDetector(nn.Module):
    """FCOS, as torchvision has it, with a narrow feature pyramid on an EfficientNet-Lite.

    The encoder is frozen, so that a package names it, and training takes minutes on a CPU.

    Attributes:
        config: the architecture.
        labels: what the network's labels stand for; the first one is the background.
    """

    def __init__(self, config: DetectorConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: the architecture.
            classifier: the encoder's whole network with its weights; None for random weights, to
                be replaced by those of a package.
        """
        super().__init__()
        # Importing torchvision takes as long as importing PyTorch itself.
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.fcos import FCOS, FCOSHead

        self.config = config
        self.labels = ("__background__", *config.classes)
        backbone = _Pyramid(config, classifier)
        self.network = FCOS(
            backbone,
            len(self.labels),
            min_size=config.size,
            max_size=2 * config.size,
            image_mean=_HALF,
            image_std=_HALF,
            anchor_generator=AnchorGenerator(tuple((each,) for each in _STRIDES), ((1.0,),) * 3),
            head=FCOSHead(config.width, 1, len(self.labels), num_convs=2),
            score_thresh=0.05,  # the user's threshold comes later
            detections_per_img=20,
        )

    def forward(self, pictures: list[Tensor]) -> list[dict[str, Tensor]]:
        """Find objects; see `find`."""
        return self.find(pictures)

    def find(self, pictures: list[Tensor]) -> list[dict[str, Tensor]]:
        """Find objects; the network is in evaluation mode.

        Args:
            pictures: (3, height, width) sRGB in [0, 1] each.

        Returns:
            By picture: boxes (objects, 4) as left, top, right, bottom in pixels, labels (objects,)
            and scores (objects,).
        """
        made: list[dict[str, Tensor]] = self.network(pictures)
        return made

    def losses(self, pictures: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        """The sum of the losses of FCOS; the network is in training mode.

        Args:
            pictures: as for `find`.
            targets: boxes (objects, 4) and labels (objects,) of each picture.
        """
        losses: dict[str, Tensor] = self.network(pictures, targets)
        return torch.stack([*losses.values()]).sum()


class _Pyramid(nn.Module):
    """Features of strides 8, 16 and 32 (Lin et al. 2017, section 3), from a frozen encoder."""

    def __init__(self, config: DetectorConfig, classifier: nn.Module | None) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork

        self.encoder = Features(config.encoder, classifier).requires_grad_(False)
        self.pyramid = FeaturePyramidNetwork(list(self.encoder.channels[-3:]), config.width)
        self.out_channels = config.width

    def forward(self, pictures: Tensor) -> OrderedDict[str, Tensor]:
        with torch.no_grad():
            maps = self.encoder(pictures)[-3:]
        made: OrderedDict[str, Tensor] = self.pyramid(
            OrderedDict((str(number), each) for number, each in enumerate(maps))
        )
        return made
