"""The router's trained head: photo classes from the features of a frozen classifier."""

from torch import Tensor, nn

from colorgan.models.architectures import HeadConfig


class RouterHead(nn.Module):
    """A linear layer, (batch, features) -> (batch, classes) calibrated logits."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.features, len(config.classes))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits of the classes from features, as `Classifier` returns them."""
        logits: Tensor = self.linear(features) / self.config.temperature
        return logits
