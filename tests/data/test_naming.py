"""What people call classes and files, and what stands for that in storage."""

import os
import re
import unicodedata
from pathlib import Path

import pytest

from colorgan.data.naming import ClassNames, class_key, class_name, readable
from colorgan.data.splits import nothing_in, split_named
from colorgan.errors import ConfigError
from colorgan.names import RESERVED_NAMES

UNDECODABLE = os.fsdecode(b"Stra\xdfe")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cats", "cats"),
        ("Cats", "Cats"),
        ("n02084071", "n02084071"),
        ("big_cats.v2", "big_cats.v2"),
        ("Big Cats", "big-cats"),
        ("Käfer", "kaefer"),
        (unicodedata.normalize("NFD", "Käfer"), "kaefer"),
        ("STRASSE & Öl", "strasse-oel"),
        ("Straße", "strasse"),
        ("Ça va?", "ca-va"),
        ("Кошки", "koshki"),
        ("犬", "quan"),
        (" cats\n and  dogs ", "cats-and-dogs"),
        ("🐱", "class-46eeaf23"),
        ("!!!", "class-e84c538e"),
        (UNDECODABLE, "stra-xdfe"),
        ("x" * 101, "x" * 100),
        ("_cats", "cats"),
    ],
)
def test_every_name_of_a_class_has_a_key(name: str, key: str) -> None:
    assert class_key(name) == key
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", key)


@pytest.mark.parametrize("name", [*RESERVED_NAMES, "General", "Général", "auto!", " Router "])
def test_keys_that_colorgan_keeps_are_no_classes(name: str) -> None:
    with pytest.raises(ConfigError, match="name is reserved"):
        class_key(name)


@pytest.mark.parametrize("name", ["", " ", "../cats", "a/b"])
def test_a_path_is_no_class(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        class_key(name)


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [("Big Cats", "big cats", "big-cats"), ("Cats", "cats", "cats"), ("Kaefer", "Käfer", "kaefer")],
)
def test_two_names_of_one_key_are_refused_with_both(one: str, other: str, key: str) -> None:
    names = ClassNames()
    names.add(one)
    with pytest.raises(ConfigError, match=f"'{one}' and '{other}' would both be '{key}'"):
        names.add(other)


def test_the_name_is_kept_where_it_is_not_the_key() -> None:
    names = ClassNames()
    for name in ("cats", "Käfer", unicodedata.normalize("NFD", "Käfer")):
        names.add(name)
    assert names.different == {"kaefer": "Käfer"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/a/Größe.jpg", "/a/Größe.jpg"),
        (os.fsdecode(b"/a/Stra\xdfe.jpg"), r"/a/Stra\xdfe.jpg"),
        # What a process in an ASCII locale sees of UTF-8.
        ("Gr\udcc3\udcb6\udcc3\udc9fe", "Größe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_every_path_has_a_readable_text(name: str, text: str) -> None:
    assert readable(name) == readable(Path(name)) == text
    assert text.encode().decode() == text


def test_a_name_for_people_stands_on_one_line() -> None:
    assert class_name("Big\n\tCats ") == "Big Cats"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("train_set", "train"), ("TrainSet", "train")),
        *(("val", "val"), ("Valid", "val"), ("VALIDATION", "val"), ("validation set", "val")),
        *(("test", "test"), (" Testing ", "test"), ("test-set", "test")),
        *(("trains", None), ("set", None), ("", None), ("cats", None), ("training 2", None)),
    ],
)
def test_splits_are_known_by_their_names(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_an_empty_split_is_said_of_all_its_classes() -> None:
    assert nothing_in("mine", ["cats"], "val") == (
        "Dataset 'mine' has no photograph of class 'cats' in its validation split."
    )
    assert "the classes 'a', 'b' and 'c' in its test split" in nothing_in("x", list("abc"), "test")
    many = nothing_in("x", [f"c{number}" for number in range(200)], "train")
    assert many.endswith("'c9' and 190 more in its training split.")
