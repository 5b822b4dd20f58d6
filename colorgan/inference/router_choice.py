"""Choosing a router that fits the available models; nothing is loaded here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

from colorgan.classes import PhotoClasses
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.models import EMBEDDED
from colorgan.models.architectures import HeadConfig
from colorgan.names import OF_NO_CLASS, ROUTER
from colorgan.options import Configuration, option
from colorgan.packages.card import (
    ModelCard,
    find,
    released_models,
    unreleased,
)
from colorgan.packages.embedded import first_release_command
from colorgan.storage import Storage

AUTO: Final = "auto"
LABELS: Final = "labels"
HEAD: Final = "head"
Kind = Literal["auto", "labels", "head"]
ROUTERS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class RouterConfig(Configuration):
    """The options for the choice of a router."""

    router: Kind = option(
        AUTO,
        "labels: the best ImageNet label decides; head: the head trained by colorgan train-router; "
        "auto: the router whose classes have models",
    )
    classifier: str = option(
        EMBEDDED, "router labels: the classifier, which may be any of torchvision's, such as vgg16"
    )
    weights: str = option("", "a file with the classifier's weights, instead of its own")
    classes: str = option(
        "", "router labels: a file with the classes and their labels, such as classes.toml"
    )
    head: str = option("", "router head: a package, such as router@VERSION, instead of its release")
    unsure_below: float = option(0.0, "router head: below this probability, the class is unsure")

    def check(self) -> None:
        """Check the probability, and that all options are for one router; raises ConfigError."""
        if not 0 <= self.unsure_below <= 1:
            raise ConfigError(f"--unsure-below {self.unsure_below} is not a probability")
        if self.router == AUTO and self._of_labels and self._of_head:
            raise ConfigError(
                f"{self._of_labels} is an option of the router labels, and {self._of_head} one of "
                "the router head: give --router labels or --router head"
            )
        ignored = {LABELS: self._of_head, HEAD: self._of_labels}.get(self.router)
        if ignored:
            raise ConfigError(
                f"{ignored} is an option of the other router: leave it out, or leave out "
                f"--router {self.router}"
            )

    @property
    def preference(self) -> str:
        """`labels` or `head` if named, or if an option is given that only one has; else `auto`."""
        if self.router != AUTO:
            return self.router
        return LABELS if self._of_labels else HEAD if self._of_head else AUTO

    @property
    def _of_labels(self) -> str:
        return "--classes" if self.classes else "--classifier" * (self.classifier != EMBEDDED)

    @property
    def _of_head(self) -> str:
        return "--head" if self.head else "--unsure-below" * (self.unsure_below > 0)


class StoredModels(Mapping[str, ModelCard]):
    """The released package of every class in a storage; each is read when it is accessed."""

    def __init__(self, storage: Storage, pins: Sequence[str] = ()) -> None:
        """List the models of a storage.

        Args:
            storage: the storage.
            pins: packages of classes, `animals@VERSION`, to use instead of the released one.

        Raises:
            ConfigError: a package is not the model of a class.
            NotInStorage: there is no such package.
            StorageUnavailable: the storage does not answer.
        """
        self._storage = storage
        self._pinned = {card.model: card for card in (find(storage, pin) for pin in pins)}
        if wrong := [card for card in self._pinned.values() if card.model in OF_NO_CLASS]:
            raise ConfigError(f"{wrong[0].reference} is not the model of a class")
        self._names = [name for name in released_models(storage) if name not in OF_NO_CLASS]
        self._names += [name for name in self._pinned if name not in self._names]

    def __getitem__(self, name: str) -> ModelCard:
        """A class's package; raises KeyError, or Corrupt if its files cannot be read."""
        if name not in self._names:
            raise KeyError(name)
        return self._pinned.get(name) or find(self._storage, name)

    def __contains__(self, name: object) -> bool:
        """Whether the class has a model; this does not read its package."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """The classes."""
        return iter(self._names)

    def __len__(self) -> int:
        """Number of classes that have a model."""
        return len(self._names)


@dataclass(frozen=True)
class RouterChoice:
    """A router that is chosen, but not loaded yet.

    Attributes:
        config: the configuration to open it with; it names `labels`, or `head` and its package.
        classes: the classes that it sends photographs to.
        classifier: the name of the classifier whose outputs it uses.
        note: a sentence for the user if another router would fit, too; otherwise empty.
    """

    config: RouterConfig
    classes: tuple[str, ...]
    classifier: str
    note: str = ""

    @property
    def package(self) -> str:
        """The head's package, `router@version`; otherwise empty."""
        return self.config.head if self.config.router == HEAD else ""

    def __str__(self) -> str:
        """Its name in messages: `labels`, or `head router@version`."""
        return f"{self.config.router} {self.package}".strip()


def choose_router(
    config: RouterConfig,
    storage: Storage,
    models: Mapping[str, ModelCard] | None = None,
    wanted: Sequence[str] = (),
    where: str = "",
    way_out: str = "",
) -> RouterChoice:
    """Choose the router for some models: the rule behind --router, and the only check of the fit.

    A router fits if each of its classes has a model. `labels` and `head` name a router, which must
    fit. `auto` takes the one that fits. If both fit, these rules decide, in this order:

    1. The router that knows all `wanted` classes.
    2. The router that needs fewer of the models that come with colorgan: the user's own precede.
    3. The head, if its classes differ from those of `labels` and it is no older than the models of
       the latter: the latest training decides.
    4. `labels`.

    Args:
        config: the user's options.
        storage: the storage of the head's package.
        models: packages by class; None if nothing is to be coloured, so that every router fits.
        wanted: classes that the router should know, as those of a dataset.
        where: the location of the models, for messages: "/home/you/artifacts", "report first".
        way_out: a further way out, for messages.

    Raises:
        ConfigError: an option is invalid.
        NotInStorage: no head has been trained, or no router fits; the message says what to do.
        Corrupt: the head's package cannot be read.
    """
    candidates = _candidates(config, storage)
    fitting = [each for each in candidates if models is None or _fits(each, models)]
    if not fitting:
        head = _find_head(config, storage) if config.preference == LABELS else None
        releases = _releases(storage, candidates, models or {})
        raise NotInStorage(
            _why_none_fits(candidates, head, models or {}, where or storage.uri, way_out, releases)
        )
    knowing = [each for each in fitting if {*wanted} <= {*each.classes}] or fitting
    if len(knowing) > 1 and models is not None:
        strangers = [_embedded_of(each, models) for each in knowing]
        knowing = [each for each, n in zip(knowing, strangers, strict=True) if n == min(strangers)]
    if len(knowing) == 1:
        return knowing[0]
    labels, head = knowing
    newer = _later(head, labels, storage, models or {})
    taken, left = (head, labels) if newer else (labels, head)
    reason = ", the latest training" if newer else ""
    note = (
        f"router {taken} ({', '.join(taken.classes)}){reason}; --router {left.config.router} takes "
        f"{left} ({', '.join(left.classes)})"
    )
    return replace(taken, note=note)


def choose_lone_router(config: RouterConfig, storage: Storage) -> RouterChoice:
    """Choose a router that is used without colouring; see open_router. Raises as choose_router."""
    models = StoredModels(storage)
    fits = any(_fits(each, models) for each in _candidates(config, storage))
    return choose_router(config, storage, models if fits else None)


def _candidates(config: RouterConfig, storage: Storage) -> list[RouterChoice]:
    """The routers that the configuration allows: labels first, then the head if there is one."""
    found = []
    if config.preference != HEAD:
        photo_classes = PhotoClasses.load(Path(config.classes) if config.classes else None)
        named = replace(config, router=LABELS)
        found.append(RouterChoice(named, photo_classes.names, config.classifier))
    if config.preference != LABELS:
        head = _find_head(config, storage)
        if head:
            found.append(head)
        elif config.preference == HEAD:
            raise NotInStorage(
                f"no model {ROUTER!r} in {storage.uri}: colorgan train-router --dataset NAME "
                "trains the head that --router head takes"
            )
    return found


def _find_head(config: RouterConfig, storage: Storage) -> RouterChoice | None:
    """The head that the configuration names, or the released one; None if there is none.

    If the user has not asked for a head, an unreadable one is ignored.
    """
    if not config.head and not storage.exists(f"models/{ROUTER}/latest.json"):
        return None
    try:
        card = find(storage, config.head or ROUTER)
    except Corrupt:
        if config.preference == HEAD:
            raise
        return None
    if not isinstance(card.architecture, HeadConfig):
        raise ConfigError(f"{card.reference} is a {card.kind}, not a router")
    named = replace(config, router=HEAD, head=card.reference)
    return RouterChoice(named, card.architecture.classes, card.architecture.classifier)


def _fits(choice: RouterChoice, models: Mapping[str, ModelCard]) -> bool:
    return all(name in models for name in choice.classes)


def _embedded_of(choice: RouterChoice, models: Mapping[str, ModelCard]) -> int:
    """How many of the models of a router's classes come with colorgan."""
    count = 0
    for name in choice.classes:
        with suppress(Corrupt):  # it is the user's own, and its use will report the damage
            count += models[name].embedded
    return count


def _later(
    head: RouterChoice, labels: RouterChoice, storage: Storage, models: Mapping[str, ModelCard]
) -> bool:
    """Whether a head has other classes than `labels`, and is no older than the latter's models."""
    if {*head.classes} == {*labels.classes}:
        return False
    created = find(storage, head.config.head).created
    return all(created >= models[name].created for name in labels.classes if name in models)


def _releases(
    storage: Storage, candidates: Sequence[RouterChoice], models: Mapping[str, ModelCard]
) -> str:
    """The command that releases published packages of lacking classes; empty if there are none."""
    lacking = {name for each in candidates for name in each.classes if name not in models}
    waiting = [each for each in unreleased(storage) if each.partition("@")[0] in lacking]
    if not waiting:
        return ""
    return f"{first_release_command(storage, *waiting)} releases what is published"


def _why_none_fits(
    candidates: Sequence[RouterChoice],
    head: RouterChoice | None,
    models: Mapping[str, ModelCard],
    where: str,
    way_out: str,
    releases: str,
) -> str:
    """A sentence on the models that each router lacks, and on the ways out."""
    missing = {
        str(each): [name for name in each.classes if name not in models] for each in candidates
    }
    parts = [
        f"the router {each} sends to {', '.join(each.classes)}, and {where} has none for "
        f"{', '.join(missing[str(each)])}"
        for each in candidates
    ]
    own = [name for name in models if not any(name in each.classes for each in candidates)]
    if releases:
        ways = [releases]
    elif head and _fits(head, models):
        ways = [f"--router head takes {head.config.head}, which sends to {', '.join(head.classes)}"]
    elif own:
        ways = [
            f"for {', '.join(own)}, colorgan train-router --dataset NAME trains a head, which "
            "--router head takes, and --classes FILE names their labels"
        ]
    else:
        lacking = min(missing.values(), key=len)
        ways = [
            f"python jobs/train_all.py --models {' '.join(lacking)} makes them",
            "for other classes there are --classes FILE and, after colorgan train-router, "
            "--router head",
        ]
    if way_out:
        ways.append(way_out)
    needs = "the assembled model needs a model of every class"
    return f"{needs}: {'; '.join(parts)}: {', or '.join(ways)}"
