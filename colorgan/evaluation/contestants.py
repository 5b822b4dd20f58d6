"""The contestants of an evaluation: models by name, their packages, and a router for them."""

from collections.abc import Sequence
from dataclasses import replace

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.results import ASSEMBLED, GRAY, ORIGINAL, Contestant
from colorgan.inference.assembled import find_class_models
from colorgan.inference.object_choice import ObjectAssembly, ObjectConfig, assemble_objects
from colorgan.inference.router_choice import RouterChoice, RouterConfig, choose_router
from colorgan.models.architectures import HypercolumnConfig
from colorgan.names import GENERAL, OBJECTS, OF_ALL_CLASSES, OF_NO_CLASS, check_name
from colorgan.packages.card import (
    ModelCard,
    find,
    released_models,
    unreleased,
)
from colorgan.packages.embedded import (
    EMBEDDED_MODELS,
    EmbeddedStorage,
    first_release_command,
    open_embedded,
    own_storage,
)
from colorgan.storage import Storage
from colorgan.training.config import stored_objective


def default_models(storage: Storage, classes: Sequence[str]) -> tuple[str, ...]:
    """The models to compare by default: assembled, general and the baselines, if storage has them.

    If storage has none of them, the models that come with colorgan are compared.

    Raises:
        NotInStorage: there are no embedded models either.
    """
    there = set(released_models(own_storage(storage)))
    models = [ASSEMBLED] if there >= set(classes) else []
    models += [name for name in OF_ALL_CLASSES if name in there]
    if not models and EmbeddedStorage().folders("models"):
        models = [EMBEDDED_MODELS]
        models += [GENERAL] if {*EmbeddedStorage().folders("models")} - {GENERAL} else []
    if not models and (waiting := unreleased(storage)):
        raise NotInStorage(
            f"no model in {storage.uri} to evaluate is released: --models {' '.join(waiting)} "
            f"compares the newest, and {first_release_command(storage, *waiting)} releases them"
        )
    if not models:
        raise NotInStorage(
            f"no model in {storage.uri} to evaluate: train some with python jobs/train_all.py"
        )
    return tuple(models)


def find_contestants(
    storage: Storage,
    models: Sequence[str],
    classes: Sequence[str],
    objects: ObjectConfig | None = None,
    classes_file: str = "",
) -> tuple[Contestant, ...]:
    """The identities, and the contestants that some models' names stand for.

    Args:
        storage: the storage of the packages.
        models: `assembled`, `objects`, `embedded`, or references as `colorgan.packages.card.find`
            takes them. `embedded` is assembled of all class models that come with colorgan and, if
            it has none of one of these classes, of the general one. NAME=REFERENCE gives a
            contestant another name, so that versions of a model can be compared, and
            NAME=REFERENCE,REFERENCE,… is an assembled model of these packages.
        classes: the classes that an assembled model needs a model for.
        objects: the options of `objects`; None for its defaults.
        classes_file: see `assemble_objects`.

    Raises:
        NotInStorage: a model or the detector of `objects` is missing.
        ConfigError: a name occurs twice, a model does not colour, or an assembled model lacks a
            class.
    """
    identities = (Contestant(GRAY, ""), Contestant(ORIGINAL, ""))
    contestants = list(identities)
    for model in models:
        called, _, packages = model.rpartition("=")
        if packages == OBJECTS:
            parts = assemble_objects(objects or ObjectConfig(), storage, classes_file)
            named = check_name("model", called or OBJECTS)
            contestants.append(object_contestant(parts, named))
        else:
            contestants.append(_contestant(storage, model, classes))
    names = [contestant.name for contestant in contestants]
    if len(set(names)) < len(names):
        raise ConfigError(
            "two models have the same name: give one a different name with NAME=MODEL@VERSION"
        )
    return tuple(contestants)


def object_contestant(parts: ObjectAssembly, name: str = OBJECTS) -> Contestant:
    """The contestant that colours by objects with these parts."""
    cards = list(parts.cards.values())
    references = ",".join(card.reference for card in cards)
    return Contestant(name, references, _note(cards), detector=parts.config.detector)


def _contestant(storage: Storage, model: str, classes: Sequence[str]) -> Contestant:
    called, _, packages = model.rpartition("=")
    if packages == ASSEMBLED:
        cards = list(find_class_models(storage, classes).values())
    elif packages == EMBEDDED_MODELS:
        cards = _embedded_cards(classes)
        called = called or EMBEDDED_MODELS
    else:
        cards = [find(storage, reference) for reference in packages.split(",")]
    for card in cards:
        if not card.colors:
            raise ConfigError(f"{card.reference} is a {card.kind}, not a model that colours")
    assembled = packages == ASSEMBLED or len(cards) > 1
    exact = assembled and packages != EMBEDDED_MODELS
    if exact and sorted(card.model for card in cards) != sorted(classes):
        raise ConfigError(f"{model}: an assembled model needs one model of {', '.join(classes)}")
    name = check_name("model", called or (ASSEMBLED if assembled else cards[0].model))
    return Contestant(name, ",".join(card.reference for card in cards), _note(cards))


def _embedded_cards(classes: Sequence[str]) -> list[ModelCard]:
    """The embedded class models, and the general one if a class has no model among them."""
    embedded = open_embedded()
    there = [name for name in embedded.folders("models") if name not in OF_NO_CLASS]
    if {*there} == {*classes}:
        return [find(embedded, name) for name in classes]
    lacks = not {*classes} <= {*there}
    return [find(embedded, name) for name in (*there, *[GENERAL] * lacks)]


def choose_contestants(
    config: RouterConfig,
    storage: Storage,
    dataset: Dataset,
    models: Sequence[str],
    objects: ObjectConfig | None = None,
) -> tuple[tuple[Contestant, ...], RouterChoice | None]:
    """Find the contestants, choose the assembled ones' router, and fit the embedded ones to it.

    The embedded models colour as an assembled model whatever the dataset's classes are: what the
    router sends to a class without an embedded model, the embedded general model colours. A
    caveat of the contestant says so.

    Args:
        config: the options for the choice of a router.
        storage: the storage of the packages.
        dataset: the dataset whose photographs are to be coloured.
        models: as `find_contestants` takes them.
        objects: the options of `objects`; None for its defaults.

    Raises:
        NotInStorage: a model is missing, or no router sends to the models' classes alone.
        ConfigError: as in find_contestants.
        ColorganError: as in choose_router.
    """
    classes = dataset.manifest.classes
    contestants = find_contestants(storage, models, classes, objects, config.classes)
    choice = choose_evaluated_router(config, storage, dataset, contestants)
    if choice is None:
        return contestants, None
    fitted = [
        _fitted(each, choice, classes) if _is_inexact(each, classes) else each
        for each in contestants
    ]
    return tuple(fitted), choice


def _is_inexact(contestant: Contestant, classes: Sequence[str]) -> bool:
    """Whether an assembled contestant's models are others than the dataset's classes."""
    return contestant.routed and {*contestant.by_model} != {*classes}


def _fitted(contestant: Contestant, choice: RouterChoice, classes: Sequence[str]) -> Contestant:
    """The embedded models that a router sends to, with a caveat on what they lack."""
    packages = contestant.by_model
    own = [name for name in packages if name != GENERAL]
    kept = [name for name in choice.classes if name in packages]
    lacking = [name for name in choice.classes if name not in packages]
    if lacking and GENERAL not in packages:
        raise NotInStorage(
            f"no model that comes with colorgan colours {', '.join(lacking)}, where the router "
            f"{choice} sends photographs: --models without {EMBEDDED_MODELS} compares the others"
        )
    strangers = [name for name in classes if name not in choice.classes]
    if not kept:
        caveat = (
            f"It is the general model alone: the others that come with colorgan colour "
            f"{', '.join(own)}, where the router does not send."
        )
    elif lacking:
        caveat = f"Its general model colours what the router sends to {', '.join(lacking)}."
    elif strangers:
        caveat = (
            f"It has no model of {', '.join(strangers)}: the router sends every photograph to "
            f"{', '.join(kept[:-1])} or {kept[-1]}."
        )
    else:
        caveat = ""
    used = [packages[name] for name in (*kept, *[GENERAL] * bool(lacking))]
    return replace(contestant, reference=",".join(used), caveat=caveat)


def caveats(contestants: Sequence[Contestant]) -> list[str]:
    """What a user must know of contestants without a model of some class: a sentence on each."""
    return [f"{each.name}: {each.caveat}" for each in contestants if each.caveat]


def choose_evaluated_router(
    config: RouterConfig,
    storage: Storage,
    dataset: Dataset,
    contestants: Sequence[Contestant],
) -> RouterChoice | None:
    """Choose the router of the assembled models among some contestants; None if there are none.

    Args:
        config: the options for the choice of a router.
        storage: the storage of the packages.
        dataset: the dataset whose photographs are to be coloured.
        contestants: the contestants. The router must suit the first assembled one that has a
            package for each of the dataset's classes; if there is none, the embedded models, of
            which the general one colours the classes that the others lack.

    Raises:
        NotInStorage: no router sends to these classes alone.
        ColorganError: as in choose_router.
    """
    classes = dataset.manifest.classes
    routed = [each for each in contestants if each.routed]
    if not routed:
        return None
    exact = [each for each in routed if not _is_inexact(each, classes)]
    packages = (*exact, *routed)[0].by_model
    cards = {name: find(storage, each) for name, each in packages.items()}
    if GENERAL in cards and not {*classes}.isdisjoint(cards):  # where all lack, labels assembles
        cards = dict.fromkeys(classes, cards[GENERAL]) | cards
    where = f"dataset {dataset.manifest.name}"
    alone = "--models without assembled compares the others"
    return choose_router(config, storage, cards, classes, where, alone)


def _note(cards: Sequence[ModelCard]) -> str:
    config = cards[0].architecture
    if isinstance(config, HypercolumnConfig):
        return f"on {config.backbone}"
    objectives = dict.fromkeys(filter(None, map(stored_objective, cards)))
    return f"Learned by: {'; '.join(objectives)}." if objectives else ""
