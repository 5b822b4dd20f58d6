"""The rule behind --router, on model cards alone."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.inference.assembled import assemble
from colorgan.inference.router_choice import (
    RouterConfig,
    StoredModels,
    choose_lone_router,
    choose_router,
)
from colorgan.models.architectures import GeneratorConfig, HeadConfig
from colorgan.packages.card import ModelCard
from colorgan.storage import Storage

THREE = ("animals", "people", "vehicles")
OWN = ("cats", "dogs")
FOUR = (*THREE, "landscapes")
HEAD = "head router@1"


def put_card(storage: Storage, model: str, day: int, head: tuple[str, ...] = ()) -> None:
    """A model's card, or that of a head for some classes, and what points to it."""
    made = HeadConfig("stub", "0" * 64, 4, head, 1.0) if head else GeneratorConfig()
    card = ModelCard(
        model=model,
        kind="router" if head else "generator",
        version="1",
        created=f"2026-01-{day:02d}T00:00:00+00:00",
        classes=head or (model,),
        architecture=made,
        dataset={"name": "d", "fingerprint": "0"},
        photographs=1,
        training={},
        epochs=1,
        metrics={},
        seconds=1.0,
        device="cpu",
        run="",
        versions={},
        files={},
    )
    storage.put(f"models/{model}/1/model.json", card.to_json())
    storage.put(f"models/{model}/latest.json", b'{"version": "1"}')


def fill(storage: Storage, models: Mapping[str, int], head: tuple[str, ...], day: int) -> None:
    for model, created in models.items():
        put_card(storage, model, created)
    if head:
        put_card(storage, "router", day, head)


def on(day: int, *models: str) -> dict[str, int]:
    return dict.fromkeys(models, day)


# Models and their days, the head's classes and its day, what is chosen, words of the note.
CHOSEN = [
    (on(1, *THREE), (), 0, "labels", ""),
    (on(1, *THREE, "general"), OWN, 2, "labels", ""),
    (on(1, *OWN), OWN, 2, HEAD, ""),
    (on(1, *OWN, "animals", "hypercolumn"), OWN, 2, HEAD, ""),
    # Both fit, and have the same classes: a head of the three must be asked for.
    (on(1, *THREE), THREE, 2, "labels", "--router head takes head router@1"),
    # Both fit: the latest training decides.
    ({**on(1, *THREE), **on(2, *OWN)}, OWN, 2, HEAD, "the latest training; --router labels takes"),
    ({**on(3, *THREE), **on(1, *OWN)}, OWN, 2, "labels", "--router head takes head router@1"),
    ({**on(1, *OWN, "animals", "people"), "vehicles": 3}, OWN, 2, "labels", "--router head"),
    (on(2, *FOUR), FOUR, 2, HEAD, "the latest training"),
]


@pytest.mark.parametrize(("models", "head", "day", "expected", "note"), CHOSEN)
def test_auto_takes_the_router_whose_classes_have_models(
    storage: Storage,
    models: dict[str, int],
    head: tuple[str, ...],
    day: int,
    expected: str,
    note: str,
) -> None:
    fill(storage, models, head, day)
    assembly = assemble(RouterConfig(), storage)
    assert str(assembly.choice) == expected
    assert set(assembly.cards) == set(assembly.choice.classes)
    assert (note in assembly.choice.note) if note else not assembly.choice.note
    # What is chosen is fixed: a head that is trained later does not change it.
    again = choose_router(assembly.choice.config, storage, StoredModels(storage))
    assert str(again) == expected


def test_what_is_wanted_decides_where_both_fit(storage: Storage) -> None:
    fill(storage, {**on(3, *THREE), "landscapes": 1}, FOUR, 2)
    assert str(assemble(RouterConfig(), storage).choice) == "labels"
    assert str(assemble(RouterConfig(), storage, wanted=FOUR).choice) == HEAD


# Models, the head's classes, the options, and words that the sentence must have.
REFUSED = [
    ((), (), {}, ["none for animals, people, vehicles", "train_all.py --models animals people"]),
    (("animals",), (), {}, ["none for people, vehicles", "train_all.py --models people vehicles"]),
    (OWN, (), {}, ["for cats, dogs, colorgan train-router --dataset NAME"]),
    (OWN, (), {"router": "labels"}, ["for cats, dogs, colorgan train-router"]),
    (OWN, OWN, {"router": "labels"}, ["--router head takes router@1, which sends to cats, dogs"]),
    (("cats", "birds"), OWN, {}, ["router head router@1 sends to cats, dogs", "none for dogs"]),
    (("cats",), OWN, {"router": "head"}, ["none for dogs", "train_all.py --models dogs"]),
    (OWN, (), {"router": "head"}, ["no model 'router'", "colorgan train-router --dataset NAME"]),
]


@pytest.mark.parametrize(("models", "head", "options", "words"), REFUSED)
def test_what_does_not_fit_is_one_sentence_with_the_way_out(
    storage: Storage,
    models: tuple[str, ...],
    head: tuple[str, ...],
    options: dict[str, str],
    words: list[str],
) -> None:
    fill(storage, on(1, *models), head, 2)
    with pytest.raises(NotInStorage) as raised:
        assemble(RouterConfig(**options), storage, way_out="something else helps")
    sentence = str(raised.value)
    assert "\n" not in sentence and "--router head" in sentence
    for each in words:
        assert each in sentence
    if "no model 'router'" not in sentence:
        for each in ("train-router", "--classes FILE"):
            assert each in sentence or "--router head takes" in sentence
        assert sentence.endswith("something else helps")
    if set(models) == set(OWN):  # to train what nobody wants is no way out
        assert "--models animals" not in sentence


@pytest.mark.parametrize(
    ("models", "head", "expected"),
    [
        ((), (), "labels"),
        ((), OWN, HEAD),
        (OWN, OWN, HEAD),
        (OWN, (), "labels"),
        (("animals",), (), "labels"),
        (THREE, THREE, "labels"),
    ],
)
def test_a_router_can_be_used_without_models(
    storage: Storage, models: tuple[str, ...], head: tuple[str, ...], expected: str
) -> None:
    fill(storage, on(1, *models), head, 2)
    assert str(choose_lone_router(RouterConfig(), storage)) == expected


def test_an_option_of_one_router_chooses_it(storage: Storage, tmp_path: Path) -> None:
    fill(storage, on(1, *OWN, *THREE), OWN, 2)
    file = tmp_path / "classes.toml"
    file.write_text('fallback = "cats"\n[classes.cats]\nn02123045 = "tabby"\n')
    for options, expected in (
        ({"classes": str(file)}, "labels"),
        ({"classifier": "vgg16"}, "labels"),
        ({"unsure_below": 0.5}, HEAD),
        ({"head": "router@1"}, HEAD),
    ):
        assert str(assemble(RouterConfig(**options), storage).choice) == expected
    with pytest.raises(ConfigError, match="--classes is an option of the router labels, and --hea"):
        RouterConfig(classes=str(file), head="router@1")
    for router, options in (("labels", {"head": "router@1"}), ("head", {"classifier": "vgg16"})):
        with pytest.raises(ConfigError, match=f"of the other router: .* --router {router}"):
            RouterConfig(router=router, **options)  # it would be ignored
    with pytest.raises(ConfigError, match="cats@1 is a generator, not a router"):
        choose_router(RouterConfig(head="cats@1"), storage)


def test_a_broken_head_stops_nobody_who_has_not_asked_for_it(storage: Storage) -> None:
    fill(storage, on(1, *THREE), OWN, 2)
    storage.put("models/router/latest.json", b"?")
    assert str(assemble(RouterConfig(), storage).choice) == "labels"
    with pytest.raises(Corrupt, match=re.escape("models/router/latest.json")):
        assemble(RouterConfig(router="head"), storage)
