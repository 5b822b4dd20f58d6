"""Colouring photographs with all contestants of an evaluation."""

from collections.abc import Mapping, Sequence

from colorgan.evaluation.results import GRAY, IDENTITIES, Contestant
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.names import GENERAL


def color_by_contestants(
    contestants: Sequence[Contestant],
    colorizers: Mapping[str, Colorizer],
    originals: list[Pixels],
    sent_to: Sequence[str],
) -> dict[str, list[Pixels]]:
    """Colour photographs with every contestant; each package colours a photograph only once.

    Args:
        contestants: the contestants.
        colorizers: the colorizers by the references of the contestants' packages.
        originals: the photographs, (height, width, 3) uint8 sRGB each.
        sent_to: the class of each photograph by the router, for the assembled contestants. The
            general model colours for a contestant without a model of the class.

    Returns:
        By contestant, in their order, its pictures, of the photographs' sizes.
    """
    made: dict[tuple[str, int], Pixels] = {}  # by package, which contestants may share

    def color(reference: str, places: Sequence[int]) -> None:
        places = [place for place in places if (reference, place) not in made]
        pictures = colorizers[reference]([originals[place] for place in places])
        made.update(zip([(reference, place) for place in places], pictures, strict=True))

    done: dict[str, list[Pixels]] = {}
    for contestant in contestants:
        if contestant.name in IDENTITIES:
            gray = contestant.name == GRAY
            done[contestant.name] = [grayscale(rgb) for rgb in originals] if gray else originals
            continue
        packages = contestant.by_model
        chosen = [
            packages.get(sent) or packages[GENERAL] if contestant.routed else contestant.reference
            for sent in sent_to
        ]
        for reference in set(chosen):
            color(reference, [n for n, each in enumerate(chosen) if each == reference])
        done[contestant.name] = [made[each, place] for place, each in enumerate(chosen)]
    return done
