"""Epochs for TensorBoard: scalars, pictures, and hyper-parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from colorgan.images.decoding import Pixels
from colorgan.temporary import temporary_folder
from colorgan.training.records import EpochRecord


def write_events(
    values: Mapping[str, Any],
    records: Sequence[EpochRecord],
    scalars: Mapping[str, float | None],
    pictures: Mapping[str, Pixels],
) -> bytes:
    """Create an events file.

    Args:
        values: hyper-parameters, for the HParams tab.
        records: the epochs since the previous events file.
        scalars: further scalars of the last epoch; None values are left out.
        pictures: pictures of the last epoch by name, (height, width, 3) uint8 each.

    Returns:
        The file's contents; its name must contain `tfevents`.
    """
    # TensorBoard takes a second to import, and only sweeps need it.
    from torch.utils.tensorboard.summary import hparams
    from torch.utils.tensorboard.writer import SummaryWriter

    known = {name: value for name, value in scalars.items() if value is not None}
    with temporary_folder("events") as folder:
        with SummaryWriter(str(folder)) as writer:
            measured = dict.fromkeys(("val_l1", "val_psnr", *known), 0.0)
            for summary in hparams(dict(values), measured):  # type: ignore[no-untyped-call]
                writer._get_file_writer().add_summary(summary)
            for record in records:
                for name, value in asdict(record).items():
                    if name != "epoch" and value is not None:
                        writer.add_scalar(name, value, record.epoch)
            for name, value in known.items():
                writer.add_scalar(name, value, records[-1].epoch)
            for name, rgb in pictures.items():
                writer.add_image(name, rgb, records[-1].epoch, dataformats="HWC")
        (file,) = folder.iterdir()
        return file.read_bytes()
