"""What trainings leave behind in words and numbers."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did.

    Attributes:
        epoch: counted from 1.
        loss_d: the discriminators' loss, mean over the epoch's photographs; 0 in steps without an
            adversary.
        loss_gan: the generator's adversarial loss, before lambda; the same.
        loss_l1: the generator's L1 loss, before lambda, on channels in [-1, 1] as large as it
            writes them; of hypercolumns, the mean distance of U and V, as they are and blurred.
        val_l1: mean absolute error in a and b of Lab on the validation split.
        val_psnr: PSNR in sRGB on the validation split, in dB.
        images_per_second: training photographs a second, without the validation.
        seconds: the whole epoch, validation included.
        data_seconds: of these, spent waiting for the next batch of photographs.
        step_seconds: of these, spent in the training's steps.
        val_colorfulness: mean colourfulness on the validation split, as a share of the originals';
            None where those are gray, and of epochs of before.
        val_distance: Fréchet distance of the validation photographs from the originals, in the
            pooled features of the encoder's classifier, where an epoch ends in an adversarial
            phase; None elsewhere, and of few photographs.
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


def history_csv(history: Sequence[EpochRecord]) -> bytes:
    """The records as CSV, a line an epoch."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([field.name for field in fields(EpochRecord)])
    table.writerows(asdict(record).values() for record in history)
    return text.getvalue().encode()


def is_nearest(record: EpochRecord, before: Sequence[EpochRecord]) -> bool:
    """Whether the photographs of an epoch are nearer the originals than those of all before."""
    distances = [each.val_distance for each in before if each.val_distance is not None]
    return record.val_distance is not None and all(record.val_distance < d for d in distances)
