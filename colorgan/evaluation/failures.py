"""The photographs that each model colours worst, and what is wrong with them."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.evaluation.results import GRAY, ORIGINAL, Report
from colorgan.evaluation.statistics import colorers
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels
from colorgan.images.lab import rgb_to_lab
from colorgan.metrics import colorfulness

_SIDE = 64  # px, a shorter side at which patches are larger than a pixel, and textures are not
_SMOOTH = 3.0  # Lab units of lightness per pixel at that side; a smaller step is not an edge
_PATCHY = 1.5  # times the original's patchiness
_PALE = 1 / 3  # of the original's colourfulness
_GAUDY = 1.5  # times the original's colourfulness


def patchiness(rgb: Tensor) -> Tensor:
    """How much the colour changes where the lightness does not, as in patches without an edge.

    Args:
        rgb: (batch, 3, height, width) floating point sRGB in [0, 1].

    Returns:
        (batch,) in Lab units: the mean step in a and b between neighbouring pixels, at a shorter
        side of 64 px, over the neighbours whose lightness differs by less than 3 units.
    """
    scale = _SIDE / min(rgb.shape[2:])
    lab = rgb_to_lab(
        F.interpolate(rgb, scale_factor=scale, mode="bilinear", antialias=True).clamp(0, 1)
    )
    steps, places = torch.zeros(len(rgb)), torch.zeros(len(rgb))
    for axis in (2, 3):
        difference = lab.diff(dim=axis)
        smooth = difference[:, 0].abs() < _SMOOTH
        chroma = difference[:, 1:].square().sum(dim=1).sqrt()
        steps += (chroma * smooth).sum(dim=(1, 2))
        places += smooth.sum(dim=(1, 2))
    return steps / places.clamp(min=1)


def reason(colored: Tensor, original: Tensor, photo_class: str, sent_to: str) -> str:
    """What is wrong with a colouring, as text for people.

    Args:
        colored: (1, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.
        photo_class: the true class.
        sent_to: the class whose model coloured it, if a router chose; otherwise empty.
    """
    words = []
    strength, wanted = colorfulness(colored).item(), colorfulness(original).item()
    if sent_to and sent_to != photo_class:
        words.append(f"sent to {sent_to}")
    if strength < _PALE * wanted:
        return ", ".join([*words, "nearly gray"])
    if patchiness(colored).item() > _PATCHY * patchiness(original).item():
        words.append("patches")
    if strength > _GAUDY * wanted:
        words.append("too strong")
    return ", ".join(words) or "other colours"


def worst_photographs(report: Report, results: pd.DataFrame, count: int) -> pd.DataFrame:
    """The photographs whose colours are worst, compared with leaving them gray.

    Args:
        report: the report that has the pictures.
        results: as `Report.results` returns them.
        count: number of photographs per model.

    Returns:
        One line per model and photograph, each model's worst first: model, photo, source, class,
        sent_to, l1, gray (its L1 without colour) and reason.
    """
    gray = results[results["model"] == GRAY].set_index("photo")["l1"]
    lines = []
    for model in colorers(results):
        own = results[results["model"] == model]
        excess = own["l1"] - own["photo"].map(gray)
        for _, row in own.loc[excess.sort_values(ascending=False).index[:count]].iterrows():
            photo = str(row["photo"])
            colored, original = (_unit(_picture(report, photo, name)) for name in (model, ORIGINAL))
            lines.append(
                {
                    "model": model,
                    "photo": photo,
                    "source": row["source"],
                    "class": row["class"],
                    "sent_to": row["sent_to"],
                    "l1": row["l1"],
                    "gray": gray[photo],
                    "reason": reason(colored, original, row["class"], row["sent_to"]),
                }
            )
    return pd.DataFrame(lines)


def failures_sheet(report: Report, failures: pd.DataFrame, models: Sequence[str]) -> Pixels:
    """A contact sheet of grayscale | coloured | original, with each model's worst photographs."""
    rows = [
        SheetRow(
            f"{line['model']}: L1 {line['l1']:.1f}, gray {line['gray']:.1f}; {line['reason']}",
            [_picture(report, line["photo"], name) for name in (GRAY, line["model"], ORIGINAL)],
        )
        for model in models
        for _, line in failures[failures["model"] == model].iterrows()
    ]
    return contact_sheet(("grayscale", "coloured", "original"), rows, columns=2)


def _picture(report: Report, photo: str, contestant: str) -> Pixels:
    with Image.open(io.BytesIO(report.picture(photo, contestant))) as opened:
        return np.array(opened.convert("RGB"))


def _unit(rgb: Pixels) -> Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
