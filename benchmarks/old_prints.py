"""Old prints with and without `--restore`: how many are routed right, and the L1 of their colours.

    python -m benchmarks.old_prints --photos FOLDER [--json FILE]

FOLDER has photographs by class, as FOLDER/animals/*.jpg, or as FOLDER/test/animals/*.jpg. The first
ten of each class, without their colours, are worn in fourteen ways, then routed and coloured by the
models that come with colorgan. L1 is the mean absolute difference in a and b from the photograph's
own colours, inside the border. Without --photos, scenes are drawn, for which the figures say
little.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter

from benchmarks.face import Settings, main_of, note
from benchmarks.measure import Result, Unavailable
from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.images.decoding import Photograph, Pixels, decode
from colorgan.images.prints import Restored, Restoring, restore
from colorgan.inference.assembled import AssembledColorizer, Colored, assemble
from colorgan.inference.router_choice import RouterConfig
from colorgan.metrics import ab_l1
from colorgan.packages.embedded import open_embedded

NAME = "old_prints"
UNIT = "L1 in ab"
BORDER = 30  # pixels
BATCH = 10

Gray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Photo:
    """A photograph of a known class, in colour."""

    label: str
    rgb: Pixels


def run(settings: Settings) -> list[Result]:
    """Measure every wear; see the module's docstring."""
    photos = _photographs(settings)
    device = torch.device(settings.device_type)
    storage = open_embedded()
    model = assemble(RouterConfig(), storage).load(storage, device)
    worn = _Worn()
    prints = [worn.of(_luma(photo.rgb)) for photo in photos]
    return [row for wear in prints[0] for row in _case(model, wear, photos, prints)]


def _case(
    model: AssembledColorizer,
    wear: str,
    photos: Sequence[Photo],
    prints: Sequence[dict[str, Pixels]],
) -> list[Result]:
    without = _colored(model, [worn[wear] for worn in prints])
    errors = _errors(without, photos, wear)
    rows = [
        Result(NAME, wear, "without", float(errors.mean()), UNIT, facts=_routed(without, photos))
    ]
    # A print that is left alone is coloured as without: it is the same array.
    mended = [
        number for number, worn in enumerate(prints) if _restored(worn[wear]).seen is not worn[wear]
    ]
    restored = list(without)
    for number, colored in zip(
        mended,
        _colored(model, [prints[number][wear] for number in mended], "colors"),
        strict=True,
    ):
        restored[number] = colored
    distances = _errors(restored, photos, wear)
    difference = distances - errors
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    facts = _routed(restored, photos) | {
        "difference": float(difference.mean()),
        "95 %": float(1.96 * spread / np.sqrt(len(difference))),
        "mended": len(mended),
    }
    rows.append(Result(NAME, wear, "--restore", float(distances.mean()), UNIT, facts=facts))
    for row in rows:
        note(f"  {wear}, {row.variant}: {row.value:.3f} {dict(row.facts)}")
    return rows


def _restored(print_: Pixels) -> Restored:
    return restore(Photograph(print_), "colors")


def _colored(
    model: AssembledColorizer, prints: Sequence[Pixels], restoring: Restoring = "off"
) -> list[Colored]:
    batches = (prints[start : start + BATCH] for start in range(0, len(prints), BATCH))
    return [each for batch in batches for each in model(batch, restoring=restoring)]


def _routed(colored: Sequence[Colored], photos: Sequence[Photo]) -> dict[str, float | str]:
    pairs = zip(colored, photos, strict=True)
    right = sum(each.route.photo_class == photo.label for each, photo in pairs)
    return {"routed right": right, "of": len(photos)}


def _errors(colored: Sequence[Colored], photos: Sequence[Photo], wear: str) -> Gray:
    pairs = zip(colored, photos, strict=True)
    return np.array([_error(each.rgb, photo.rgb, wear) for each, photo in pairs])


def _error(colored: Pixels, original: Pixels, wear: str) -> float:
    """The L1 in ab of a coloured print, inside its border."""
    if wear in _BORDERED:
        colored = colored[BORDER:-BORDER, BORDER:-BORDER]
    if wear == "rot90":
        original = np.rot90(original)
    pair = (torch.from_numpy(np.array(each)).permute(2, 0, 1)[None] for each in (colored, original))
    return float(ab_l1(*(each.float() / 255 for each in pair)))


def _photographs(settings: Settings) -> list[Photo]:
    """Ten photographs of each class, or fewer at the quick scale."""
    count = settings.pick(1, 10, 10)
    if settings.photos is None:
        return [
            Photo(label, draw_scene(label, seed, 288, 384))
            for label in CLASSES
            for seed in range(count)
        ]
    root = settings.photos
    root = root / "test" if (root / "test").is_dir() else root
    photos = []
    for label in CLASSES:
        paths = sorted((root / label).glob("*.jpg"))[:count]
        if len(paths) < count:
            raise Unavailable(f"{root / label} holds {len(paths)} photographs of {count}")
        photos += [Photo(label, decode(path.read_bytes()).rgb) for path in paths]
    return photos


def _luma(rgb: Pixels) -> Gray:
    """The gray levels of a photograph, in [0, 1]."""
    gray: Gray = np.asarray(Image.fromarray(rgb).convert("L")) / 255
    return gray


class _Worn:
    """Wears photographs, with noise and scratches drawn from one seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def of(self, gray: Gray) -> dict[str, Pixels]:
        """The prints of a photograph by their wear, (height, width, 3) uint8 each."""
        noisy = (gray + self._rng.normal(0, 0.10, gray.shape)).clip(0, 1)
        scratched = self._scratched(gray)
        faint = (0.3 + scratched * 0.5 + self._rng.normal(0, 0.05, gray.shape)).clip(0, 1)
        height, width = gray.shape
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        blurred = Image.fromarray((gray * 255).astype(np.uint8))
        prints = {
            "clean": _neutral(gray),
            "sepia": _sepia(gray),
            "border": _neutral(_framed(gray, 0.93)),
            "sepiaborder": _sepia(_framed(gray, 0.93)),
            "lowcontrast": _neutral(0.38 + gray * 0.24),
            "verylow": _neutral(0.45 + gray * 0.10),
            "faded": _sepia(0.45 + gray * 0.45),
            "dark": _neutral(gray * 0.35),
            "noise": _neutral(noisy),
            "scratches": _neutral(scratched),
            "blur": _neutral(np.asarray(blurred.filter(ImageFilter.GaussianBlur(3))) / 255),
            "negative": _neutral(1 - gray),
            "worn": _sepia(_framed(faint, 0.9)),
            "vignette": _neutral(gray * (1.2 - 0.8 * (x * x + y * y)).clip(0.1, 1)),
            "rot90": _neutral(np.rot90(gray)),
        }
        return {wear: (each * 255).round().astype(np.uint8) for wear, each in prints.items()}

    def _scratched(self, gray: Gray) -> Gray:
        height, width = gray.shape
        scratched = gray.copy()
        for _ in range(14):
            scratched[:, self._rng.integers(0, width)] = 0.95
        for _ in range(150):
            y, x = self._rng.integers(0, height - 4), self._rng.integers(0, width - 4)
            scratched[y : y + 3, x : x + 3] = self._rng.choice([0.02, 0.97])
        return scratched


_BORDERED = ("border", "sepiaborder", "worn")


def _neutral(gray: Gray) -> Gray:
    return np.stack([gray] * 3, axis=-1)


def _sepia(gray: Gray) -> Gray:
    """A toned print."""
    tones = ((1.05, 0.02), (0.88, 0.01), (0.68, 0.0))
    return np.stack([(gray * gain + floor).clip(0, 1) for gain, floor in tones], axis=-1)


def _framed(gray: Gray, paper: float) -> Gray:
    """A print with a border of paper."""
    return np.pad(gray, BORDER, constant_values=paper)


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
