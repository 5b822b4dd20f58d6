"""Which photographs a model is trained on, and at which size."""

from colorgan.data.batches import JITTER
from colorgan.data.dataset import Dataset
from colorgan.data.squares import Selection
from colorgan.training.config import TrainingConfig


def training_selection(dataset: Dataset, model: str, config: TrainingConfig) -> Selection:
    """The training photographs of a model; raises ConfigError if the dataset has no such class."""
    # A generator with a frozen encoder sees whole photographs, whose features can be kept.
    side = config.size if config.fixes_encoder(model) else round(config.size * JITTER)
    return Selection(dataset, dataset.model_classes(model), "train", side, config.photographs)


def validation_selection(
    dataset: Dataset, model: str, config: TrainingConfig, limit: int = 0
) -> Selection:
    """The validation photographs of a model; `limit` as in Selection."""
    return Selection(dataset, dataset.model_classes(model), "val", config.size, limit)
