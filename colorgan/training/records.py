"""The records of a training's epochs."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from colorgan.errors import TrainingDiverged


@dataclass(frozen=True)
class EpochRecord:
    """The losses, validation metrics and times of one epoch.

    Attributes:
        epoch: the epoch's number, counted from 1.
        loss_d: the discriminators' loss, mean over the epoch's photographs; steps without an
            adversary count as 0.
        loss_gan: the generator's adversarial loss before lambda, averaged likewise.
        loss_l1: the generator's L1 loss before lambda, on channels in [-1, 1] at the resolution
            that it writes; for hypercolumns, the mean distance of U and V, unblurred and blurred,
            and for cic the cross-entropy of the bins, rebalanced.
        val_l1: mean absolute error in a and b of Lab on the validation split.
        val_psnr: PSNR in sRGB on the validation split, in dB.
        images_per_second: training photographs per second, without the validation.
        seconds: duration of the epoch, including the validation.
        data_seconds: the part of it spent waiting for batches.
        step_seconds: the part of it spent in training steps.
        val_colorfulness: mean colourfulness on the validation split, as a share of the originals';
            None if those are gray, and in epochs that earlier versions trained.
        val_distance: Fréchet distance of the colourings of the validation split from the originals,
            in the pooled features of the encoder's classifier; None unless the epoch ends in an
            adversarial phase and there are enough photographs.
    """

    epoch: int
    loss_d: float
    loss_gan: float
    loss_l1: float
    val_l1: float
    val_psnr: float
    images_per_second: float
    seconds: float
    data_seconds: float = 0.0
    step_seconds: float = 0.0
    val_colorfulness: float | None = None
    val_distance: float | None = None

    @property
    def data_share(self) -> float:
        """The share of the training's time, from 0 to 1, in which it waited for batches."""
        return self.data_seconds / max(self.data_seconds + self.step_seconds, 1e-9)


def history_csv(history: Sequence[EpochRecord]) -> bytes:
    """The records as CSV, one line per epoch."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([field.name for field in fields(EpochRecord)])
    table.writerows(asdict(record).values() for record in history)
    return text.getvalue().encode()


def check_finite(epoch: int, losses: tuple[float, float, float], learning_rate: float) -> None:
    """Raise TrainingDiverged unless an epoch's losses are finite: discriminators', GAN's, L1."""
    if not all(map(math.isfinite, losses)):
        loss_d, loss_gan, loss_l1 = losses
        raise TrainingDiverged(
            f"the loss is not finite in epoch {epoch} (discriminator {loss_d}, generator "
            f"{loss_gan}, L1 {loss_l1}): try a lower --learning-rate than {learning_rate}"
        )


def is_nearest(record: EpochRecord, before: Sequence[EpochRecord]) -> bool:
    """Whether an epoch has a lower Fréchet distance than all previous ones."""
    distances = [each.val_distance for each in before if each.val_distance is not None]
    return record.val_distance is not None and all(record.val_distance < d for d in distances)
