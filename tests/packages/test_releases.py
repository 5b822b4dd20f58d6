"""Which version of a model is used where no version is named: releases, their rule and history."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.models.architectures import (
    Architecture,
    EncoderUNetConfig,
    GeneratorConfig,
    HeadConfig,
)
from colorgan.packages.card import ModelCard, find, unreleased, whole_versions
from colorgan.packages.comparison import Verdict, judge
from colorgan.packages.releases import (
    Release,
    read_releases,
    release,
    release_sentence,
    released_version,
    remove,
    rollback,
)
from colorgan.packages.services import record_deployment, recorded, services_of
from colorgan.packages.weights import publish
from colorgan.storage import Storage, open_storage
from tests.packages.test_packages import Failing, animals
from tests.races import race
from tests.s3_server import S3Server

GOOD = {"val_l1": 9.0, "val_psnr": 22.0, "val_colorfulness": 0.75}


def published(dataset: Dataset, model: str = "animals", tag: str = "", **metrics: float) -> str:
    """Publish a version whose training ended with these metrics; returns its reference."""
    trained = animals(metrics={**GOOD, **metrics}, run="", tag=tag)
    return publish(dataset.storage, model, dataset, trained).reference


def in_use(storage: Storage, model: str = "animals") -> str:
    return find(storage, model).reference


@pytest.fixture
def card(scenes: Dataset) -> ModelCard:
    published(scenes)
    return find(scenes.storage, "animals")


PX_32, PX_64, PX_128 = (GeneratorConfig(size=size, width=2) for size in (32, 64, 128))
REPORT, BEST = (
    GeneratorConfig(size=256, width=2),
    EncoderUNetConfig(224, 2, "lab", "batch", "vgg16"),
)
OTHER = {"name": "other", "fingerprint": "another"}


@pytest.mark.parametrize(
    ("changes", "metrics", "accepted", "words"),
    [
        ({}, {}, True, "not worse than animals@.* on the validation split of scenes: L1 9.00"),
        ({}, {"val_l1": 9.17}, True, "not worse"),
        ({}, {"val_l1": 9.19}, False, "worse than .*: L1 9.19 instead of 9.00"),
        ({}, {"val_l1": float("nan")}, False, "worse than"),
        # A pale generator has the lower L1: that is not the better one.
        ({}, {"val_l1": 8.2, "val_colorfulness": 0.4}, False, "colourfulness 40% instead of 75%"),
        ({}, {"val_colorfulness": 1.2}, True, "not worse"),
        ({}, {"val_colorfulness": 1.4}, False, "colourfulness 140% instead of 75%"),
        # What only one of them has is not compared.
        ({}, {"val_distance": 99.0}, True, "not worse"),
        ({"epochs": 1}, {"val_l1": 1.0}, False, "trained for 1 epoch, and animals@.* for 2"),
        ({"architecture": PX_32}, {"val_l1": 1.0}, False, "another size.*32 px instead of 64"),
        ({"architecture": PX_128}, {"val_l1": 20.0}, True, "another size, but .* not smaller"),
        ({"dataset": OTHER}, {"val_l1": 20.0}, True, "another dataset, but .* is not smaller"),
        ({"dataset": OTHER, "photographs": 3}, {}, False, "another dataset.*3 photographs instead"),
        ({"dataset": OTHER, "epochs": 1}, {}, False, "1 epoch"),
    ],
)
def test_a_version_is_accepted_if_it_is_not_worse_on_the_same_split(
    card: ModelCard,
    changes: dict[str, object],
    metrics: dict[str, float],
    accepted: bool,
    words: str,
) -> None:
    released = replace(card, architecture=PX_64)
    values: dict[str, Any] = {"metrics": {**card.metrics, **metrics}, **changes}
    verdict = judge(replace(released, **values), released)
    assert verdict.accepted == accepted
    assert re.search(words, verdict.reason), verdict.reason


@pytest.mark.parametrize(
    ("ours", "theirs", "accepted"),
    [(BEST, REPORT, True), (REPORT, BEST, True), (PX_128, REPORT, False)],
)
def test_a_network_of_less_than_three_quarters_of_the_side_is_smaller(
    card: ModelCard, ours: Architecture, theirs: Architecture, accepted: bool
) -> None:
    released = replace(card, architecture=theirs)
    assert judge(replace(card, architecture=ours), released).accepted == accepted


def test_the_first_version_is_accepted_and_a_routers_accuracy_is_compared(card: ModelCard) -> None:
    assert judge(replace(card, epochs=1), None).accepted
    included = replace(card, version="embedded-1")
    assert judge(replace(card, architecture=PX_32, metrics={}), included).accepted
    smoke = judge(replace(card, epochs=1), included)
    assert smoke == Verdict(False, "it was trained for 1 epoch, and animals@embedded-1 for 2")
    head = replace(
        card,
        architecture=HeadConfig("efficientnet_lite0", "0" * 64, 8, ("cats", "dogs"), 1.0),
        metrics={"val_accuracy": 0.9},
        epochs=0,
    )
    assert judge(replace(head, metrics={"val_accuracy": 0.895}), head).accepted
    assert not judge(replace(head, metrics={"val_accuracy": 0.8}), head).accepted
    detector = replace(card, metrics={"val_precision": 0.0})
    blind = Verdict(False, "it has found no object of the validation split")
    assert judge(detector, None) == blind
    assert judge(replace(detector, metrics={"val_precision": 0.01}), None).accepted


def test_noise_alone_is_released_after_one_epoch_if_it_was_added_to_what_is_in_use(
    card: ModelCard,
) -> None:
    for released in (replace(card, version="embedded-1"), card):
        training = {"noise_only": True, "start_from": released.reference}
        ours = replace(card, version="2", epochs=1, dataset=OTHER, photographs=3, training=training)
        assert judge(ours, released) == Verdict(
            True, f"it has the colours of {released.reference}, and noise"
        )
        for changes in ({"noise_only": False}, {"start_from": "animals@another"}):
            other = replace(ours, training={**training, **changes})
            assert not judge(other, released).accepted
        assert not judge(replace(ours, architecture=PX_128), released).accepted


def test_what_is_worse_or_tagged_is_published_and_not_released(scenes: Dataset) -> None:
    storage = scenes.storage
    first = published(scenes)
    assert (
        release_sentence(storage, first)
        == f"{first} is released: it is the first release of animals"
    )
    worse = published(scenes, val_l1=12.0)
    candidate = published(scenes, val_l1=8.0, tag="candidate")
    assert in_use(storage) == first
    assert find(storage, worse).reference == worse
    said = release_sentence(storage, worse)
    assert said.startswith(f"{worse} is not released: it is worse than {first} on the validation ")
    assert said.endswith(f"models release {worse} --storage {storage.uri} --force releases it")
    said = release_sentence(storage, candidate)
    assert said.startswith(
        f"{candidate} is not released: tagged candidate; colorgan models release"
    )
    assert "--force" not in said

    with pytest.raises(ColorganError, match=f"{worse} is not released: .*--force releases it all"):
        release(storage, worse)
    assert in_use(storage) == first
    entry = release(storage, candidate)
    assert entry and (entry.previous, entry.forced) == (first.split("@")[1], False)
    assert in_use(storage) == candidate
    assert release(storage, candidate) is None, "it is released already"
    forced = release(storage, worse, force=True)
    assert forced and forced.forced and in_use(storage) == worse
    actions = [(each.number, each.version) for each in read_releases(storage, "animals")]
    assert actions == list(enumerate((r.split("@")[1] for r in (first, candidate, worse)), 1))


def test_a_first_version_that_is_tagged_is_not_in_use_and_the_way_out_is_named(
    scenes: Dataset,
) -> None:
    storage = scenes.storage
    candidate = published(scenes, tag="candidate")
    assert unreleased(storage) == [candidate]
    with pytest.raises(
        NotInStorage, match=f"no version of 'animals' .* is released: .*{candidate}"
    ):
        find(storage, "animals")
    release(storage, candidate)
    assert in_use(storage) == candidate and unreleased(storage) == []


def test_rollbacks_go_back_release_by_release(scenes: Dataset) -> None:
    storage = scenes.storage
    a, b, c = (published(scenes, val_l1=9.0 - n) for n in range(3))
    assert in_use(storage) == c
    assert rollback(storage, "animals").reference == b == in_use(storage)
    assert rollback(storage, "animals").reference == a == in_use(storage)
    with pytest.raises(NotInStorage, match=f"animals in .* has no earlier release than {a}"):
        rollback(storage, "animals")
    # What was withdrawn is not released again by itself; what is newer and as good is.
    release(storage, c)
    d = published(scenes, val_l1=7.0)
    assert in_use(storage) == d
    assert [rollback(storage, "animals").reference for _ in range(2)] == [c, a]
    withdrawn = release_sentence(storage, d)
    assert withdrawn.startswith(f"{d} is not released: {a} has replaced it; ")
    with pytest.raises(ConfigError, match="takes a model without a version"):
        rollback(storage, a)


def test_publishing_again_does_not_undo_a_rollback(scenes: Dataset) -> None:
    storage = scenes.storage
    first = published(scenes)
    trained = animals(metrics=GOOD, folder="runs/r/animals")
    second = publish(storage, "animals", scenes, trained)
    assert in_use(storage) == second.reference
    rollback(storage, "animals")
    assert publish(storage, "animals", scenes, trained) == second
    assert in_use(storage) == first


def test_a_rollback_passes_over_what_has_been_removed(scenes: Dataset) -> None:
    storage = scenes.storage
    a, b, c = (published(scenes, val_l1=9.0 - n) for n in range(3))
    remove(storage, b)
    assert [f"animals@{each}" for each in whole_versions(storage, "animals")] == [a, c]
    assert not storage.list(f"models/animals/{b.split('@')[1]}")
    assert rollback(storage, "animals").reference == a


def test_what_is_released_or_served_is_not_removed(scenes: Dataset) -> None:
    storage = scenes.storage
    first, second = published(scenes), published(scenes)
    with pytest.raises(ColorganError, match=f"{second} is released and is not removed: release"):
        remove(storage, second)
    record_deployment(storage, "colorgan", "http://head:8265", [first])
    with pytest.raises(ColorganError, match=r"served .*application colorgan of http://head:8265"):
        remove(storage, first)
    record_deployment(storage, "colorgan", "http://other:8265", [second])  # another cluster
    with pytest.raises(ColorganError, match="is served"):
        remove(storage, first)
    record_deployment(storage, "colorgan", "http://head:8265", [second])
    with recorded(storage, "python -m serve", [first]) as fault:
        assert not fault
        with pytest.raises(ColorganError, match="served and is not removed: python -m serve, from"):
            remove(storage, first)
    remove(storage, first)
    with pytest.raises(NotInStorage):
        find(storage, first)


def test_a_service_that_was_killed_on_this_machine_serves_no_longer(scenes: Dataset) -> None:
    storage = scenes.storage
    with recorded(storage, "python -m serve", ["animals@1"]):
        (service,) = services_of(storage)
        key, document = service.key, json.loads(storage.get(service.key))
        storage.put(key, json.dumps({**document, "created": service.created - 100}).encode())
        assert services_of(storage) == [], "another process has this id now"
        storage.put(key, json.dumps({**document, "pid": 2**22 + 1}).encode())
        assert services_of(storage) == []
        storage.put(key, json.dumps({**document, "pid": 2**22 + 1, "host": "other"}).encode())
        assert len(services_of(storage)) == 1, "of another machine nothing is known"


def test_a_service_of_embedded_models_alone_writes_nothing_into_its_storage(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "read"))
    with recorded(storage, "python -m serve", ["animals@embedded-1", "general@embedded-1"]) as note:
        assert not note and not (tmp_path / "read").exists()
    assert not (tmp_path / "read").exists()
    with recorded(storage, "python -m serve", ["animals@embedded-1", "general@1"]):
        assert services_of(storage)[0].packages == ("animals@embedded-1", "general@1")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("animals", "animals names no version: give animals@VERSION"),
        ("animals@embedded-1", "comes with colorgan"),
        ("animals@1999", "no version '1999' of model 'animals'"),
        ("../animals@1", "is not a name"),
    ],
)
def test_releasing_and_removing_take_a_version_that_exists(
    scenes: Dataset, reference: str, words: str
) -> None:
    published(scenes)
    for act in (release, remove):
        with pytest.raises(ColorganError, match=words):
            act(scenes.storage, reference)


def test_a_storage_of_before_has_a_release_without_a_history(scenes: Dataset) -> None:
    storage = scenes.storage
    first = published(scenes)
    storage.delete("models/animals/release-00001.json")
    assert released_version(storage, "animals") == first.split("@")[1]
    assert release_sentence(storage, first) == f"{first} is released"
    with pytest.raises(ColorganError, match="is released and is not removed"):
        remove(storage, first)
    worse = published(scenes, val_l1=20.0)
    assert in_use(storage) == first
    release(storage, worse, force=True)
    assert rollback(storage, "animals").reference == first


def test_a_release_that_was_cut_off_is_completed(scenes: Dataset) -> None:
    """The entry is in the history, and latest.json does not name it yet."""
    storage = scenes.storage
    first = published(scenes)
    second = published(scenes, tag="candidate")
    with pytest.raises(ColorganError, match="no answer"):
        release(Failing(storage.uri, 1), second)
    assert in_use(storage) == first
    assert released_version(storage, "animals") == second.split("@")[1]
    release(storage, second)
    assert in_use(storage) == second
    assert len(read_releases(storage, "animals")) == 2


def test_a_released_package_that_cannot_be_read_is_replaced(scenes: Dataset) -> None:
    storage = scenes.storage
    first = published(scenes)
    storage.put(f"models/animals/{first.split('@')[1]}/model.json", b"{")
    second = published(scenes, val_l1=20.0)
    assert in_use(storage) == second


def release_with_others(number: int, root: str, reference: str) -> int:
    storage = open_storage(root)
    entry = release(storage, reference, force=True)
    return entry.number if entry else 0


def test_processes_that_release_at_the_same_moment_write_one_history(scenes: Dataset) -> None:
    storage = scenes.storage
    published(scenes)
    candidates = [published(scenes, tag="candidate") for _ in range(3)]
    rounds = 8
    race(release_with_others, [(storage.uri, each) for each in candidates], rounds)
    past = read_releases(storage, "animals")
    assert [each.number for each in past] == list(range(1, len(past) + 1))
    for before, after in pairwise(past):
        assert after.previous == before.version, "each decided in view of the one before"
    assert in_use(storage) == f"animals@{past[-1].version}"


def remove_or_release(number: int, root: str, act: str, references: Sequence[str]) -> str:
    storage = open_storage(root)
    try:
        (release if act == "release" else remove)(storage, references[number])
    except ColorganError:
        return "refused"
    return act


def test_what_is_released_while_it_is_removed_is_whole_or_not_released(scenes: Dataset) -> None:
    storage, rounds = scenes.storage, 8
    published(scenes)
    candidates = [published(scenes, tag="candidate") for _ in range(rounds)]
    acts = [(storage.uri, act, candidates) for act in ("release", "remove")]
    outcomes = race(remove_or_release, acts, rounds)
    there = {f"animals@{version}" for version in whole_versions(storage, "animals")}
    for candidate, (releasing, removing) in zip(candidates, outcomes, strict=True):
        assert (candidate in there) == (removing == "refused")
        assert "refused" in (releasing, removing)
    version = released_version(storage, "animals")
    assert f"animals@{version}" in there
    release(storage, f"animals@{version}")
    assert in_use(storage) == f"animals@{version}"


def test_the_history_lies_in_a_bucket_too(
    s3: S3Server, scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = open_storage(f"s3://{s3.new_bucket()}/deep")
    for key in scenes.storage.list("datasets"):
        bucket.put(key, scenes.storage.get(key))
    dataset = open_dataset(bucket, "scenes")
    first, second = published(dataset), published(dataset)
    assert in_use(bucket) == second
    assert rollback(bucket, "animals").reference == first == in_use(bucket)
    remove(bucket, second)
    entries = read_releases(bucket, "animals")
    assert [each.action for each in entries] == ["release", "release", "rollback"]
    assert all(isinstance(each, Release) and each.by and each.at for each in entries)


def test_a_tag_is_in_the_card_and_a_card_without_one_is_as_before(scenes: Dataset) -> None:
    plain, tagged = published(scenes), published(scenes, tag="candidate")
    documents = [
        json.loads(scenes.storage.get(f"models/{each.replace('@', '/')}/model.json"))
        for each in (plain, tagged)
    ]
    assert ["tag" in each for each in documents] == [False, True]
    assert find(scenes.storage, tagged).tag == "candidate"
    assert asdict(find(scenes.storage, plain))["tag"] == ""
    with pytest.raises(ConfigError, match="tag 'a/b' is not a name"):
        published(scenes, tag="a/b")
