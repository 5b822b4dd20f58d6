"""The models that come with colorgan as a contestant, on datasets of any classes."""

from dataclasses import replace

import pytest

from colorgan.data.dataset import Dataset
from colorgan.data.scenes import draw_scene
from colorgan.evaluation.coloring import color_by_contestants
from colorgan.evaluation.contestants import caveats, choose_contestants
from colorgan.evaluation.results import Contestant
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage
from tests.inference.test_router_choice import put_card
from tests.packages.test_embedded import version

EVERY = ("animals", "people", "vehicles")


@pytest.mark.parametrize(
    ("classes", "models", "head", "parts", "caveat"),
    [
        (EVERY, ["embedded"], (), EVERY, ""),
        (("animals",), ["embedded"], (), EVERY, ""),
        (
            ("animals", "scenery"),
            ["embedded"],
            (),
            EVERY,
            "It has no model of scenery: the router sends every photograph to animals, people or "
            "vehicles.",
        ),
        (
            ("birds", "cars"),
            ["embedded"],
            ("birds", "cars"),
            EVERY,
            "It has no model of birds, cars: the router sends every photograph to animals, people "
            "or vehicles.",
        ),
        (
            ("animals", "scenery"),
            ["x=embedded"],
            ("animals", "scenery"),
            ("animals", "general"),
            "Its general model colours what the router sends to scenery.",
        ),
        (
            ("animals", "scenery"),
            ["embedded", "assembled"],
            ("animals", "scenery"),
            ("animals", "general"),
            "Its general model colours what the router sends to scenery.",
        ),
        (
            ("birds", "cars"),
            ["embedded", "assembled"],
            ("birds", "cars"),
            ("general",),
            "It is the general model alone: the others that come with colorgan colour animals, "
            "people, vehicles, where the router does not send.",
        ),
    ],
)
def test_the_embedded_models_are_assembled_on_any_classes_and_say_what_they_lack(
    scenes: Dataset,
    embedded: Storage,
    classes: tuple[str, ...],
    models: list[str],
    head: tuple[str, ...],
    parts: tuple[str, ...],
    caveat: str,
) -> None:
    both = with_embedded(scenes.storage)
    if head:
        put_card(scenes.storage, "router", 1, head)
    if "assembled" in models:
        for name in classes:
            put_card(scenes.storage, name, 1)
    dataset = Dataset(both, replace(scenes.manifest, classes=classes))
    contestants, choice = choose_contestants(RouterConfig(), both, dataset, models)
    assert choice and {*choice.classes} == {*(head if "general" in parts else EVERY)}
    found = next(each for each in contestants if each.name in ("x", "embedded"))
    assert found.packages == tuple(version(embedded, name) for name in parts)
    assert found.caveat == caveat
    assert caveats(contestants) == ([f"{found.name}: {caveat}"] if caveat else [])


def test_the_general_model_colours_for_a_class_without_an_embedded_one(embedded: Storage) -> None:
    names = ("animals", "general")
    cards = {name: find(embedded, name) for name in names}
    colorizers = {
        card.reference: Colorizer(load_generator(embedded, card)) for card in cards.values()
    }
    contestant = Contestant("embedded", ",".join(card.reference for card in cards.values()))
    rgb = draw_scene("animals", 1, 64, 64)
    done = color_by_contestants([contestant], colorizers, [rgb, rgb], ["animals", "scenery"])
    for picture, name in zip(done["embedded"], names, strict=True):
        assert (picture == colorizers[cards[name].reference]([rgb])[0]).all()
