"""The router's trained head: photo classes from the features of a frozen classifier."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class HeadConfig:
    """Everything that decides the head, and what it stands on.

    Attributes:
        classifier: the name of the classifier whose features it reads.
        classifier_sha256: the fingerprint of that classifier's weights.
        features: how many there are.
        classes: what it tells apart, in the order of its outputs.
        temperature: that the logits are divided by, so that probabilities are frequencies
            (Guo et al. 2017, section 4.2).
    """

    classifier: str
    classifier_sha256: str
    features: int
    classes: tuple[str, ...]
    temperature: float = 1.0


class RouterHead(nn.Module):
    """A linear layer, (batch, features) -> (batch, classes) calibrated logits."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.features, len(config.classes))

    def forward(self, features: Tensor) -> Tensor:
        """Read the classes off features, as `Classifier` returns them."""
        logits: Tensor = self.linear(features) / self.config.temperature
        return logits
