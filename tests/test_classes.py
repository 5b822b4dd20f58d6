import re
from pathlib import Path

import pytest

from colorgan.classes import PhotoClasses, imagenet_labels
from colorgan.errors import ConfigError


def test_imagenet_has_a_thousand_labels_in_the_order_of_the_outputs() -> None:
    labels = imagenet_labels()
    assert len({label.synset for label in labels}) == len({label.name for label in labels}) == 1000
    assert [label.synset for label in labels] == sorted(label.synset for label in labels)
    assert (labels[0].name, labels[281].name, labels[817].name) == ("tench", "tabby", "sports car")


def test_the_names_beside_the_synsets_are_imagenets() -> None:
    text = (Path(__file__).parents[1] / "colorgan/classes.toml").read_text()
    written = dict(re.findall(r'^(n\d{8}) = "(.*)"$', text, re.MULTILINE))
    known = {label.synset: label.name for label in imagenet_labels()}
    assert written == {synset: known[synset] for synset in written}


def test_the_built_in_classes() -> None:
    classes = PhotoClasses.load()
    names = {label.synset: label.name for label in imagenet_labels()}
    assert classes.names == ("animals", "people", "vehicles")
    assert (classes.threshold, classes.fallback) == (0.05, "people")
    animals, people, vehicles = (
        {names[synset] for synset in classes.synsets[name]} for name in classes.names
    )
    assert len(animals) == 398
    assert {"jean", "suit", "kimono", "ballplayer", "groom", "scuba diver"} <= people
    assert {"cab", "schooner", "airliner", "horse cart", "mountain bike"} <= vehicles
    assert not {"pizza", "alp", "traffic light"} & (animals | people | vehicles)


def test_what_datasets_call_the_built_in_classes() -> None:
    classes = PhotoClasses.load()
    assert classes.coco == {"animals": ("animal",), "people": ("person",), "vehicles": ("vehicle",)}
    assert tuple(classes.openimages) == classes.names
    text = (Path(__file__).parents[1] / "colorgan/classes.toml").read_text()
    names = dict(re.findall(r'^    "(/m/\w+)",  # (.*)$', text, re.MULTILINE))
    animals, people, vehicles = (
        {names[mid] for mid in classes.openimages[name]} for name in classes.names
    )
    assert {"Animal", "Dog", "Cat", "Bird", "Horse", "Butterfly"} <= animals
    assert {"Person", "Man", "Woman", "Boy", "Girl"} <= people
    assert {"Vehicle", "Car", "Bus", "Truck", "Train", "Airplane", "Boat", "Bicycle"} <= vehicles
    assert len(names) == len(animals) + len(people) + len(vehicles)


GOOD = 'fallback = "a"\n[classes.a]\nn01440764 = "tench"\n'


def load(text: str, tmp_path: Path) -> PhotoClasses:
    path = tmp_path / "classes.toml"
    path.write_text(text)
    return PhotoClasses.load(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    classes = load(GOOD + '[classes.landscapes]\nn09468604 = "valley"\n', tmp_path)
    assert classes.synsets == {"a": ("n01440764",), "landscapes": ("n09468604",)}
    assert classes.threshold == 0.05
    assert not classes.coco
    assert not classes.openimages


def test_a_class_may_have_no_name_in_a_dataset(tmp_path: Path) -> None:
    text = GOOD + '[classes.b]\nn09468604 = "valley"\n[openimages]\nb = ["/m/0jbk", "/g/1_2"]\n'
    assert load(text, tmp_path).openimages == {"b": ("/m/0jbk", "/g/1_2")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + '[classes.b]\nn01440764 = "tench"\n', "n01440764 is listed in both a and b"),
        (GOOD + 'n01440764 = "tench"\n', "overwrite"),
        (GOOD + 'n99999999 = "unicorn"\n', "n99999999 in a is not a synset of ImageNet-1k"),
        (GOOD + '[classes.general]\nn01443537 = "goldfish"\n', "'general' cannot be a class"),
        (GOOD + "[classes.b]\n", r"\[classes.b\] has no line"),
        ("treshold = 0.1\n" + GOOD, "unknown setting treshold"),
        ("threshold = 5\n" + GOOD, "threshold 5 is not a probability"),
        (GOOD.replace('"a"', '"b"'), "fallback = 'b' is not one of its classes"),
        (GOOD.partition("\n")[2], "fallback = None"),
        (GOOD + "[coco]\nb = ['animal']\n", r"\[coco\] has b, which is not one of the classes"),
        (GOOD + "[coco]\na = 'animal'\n", r"a in \[coco\] must be a non-empty list"),
        (GOOD + "[coco]\na = [1]\n", r"1 in \[coco\] is not a supercategory"),
        (GOOD + "[openimages]\na = []\n", r"a in \[openimages\] must be a non-empty list"),
        (GOOD + "[openimages]\na = ['Dog']\n", "'Dog' in .openimages. is not a MID"),
        (GOOD + "[openimages]\na = ['/m/0', '/m/0']\n", "/m/0 is listed in both a and a of .open"),
        ("coco = 1\n" + GOOD, r"\[coco\] must be a table"),
        ('fallback = "a"\n', r"give a table \[classes.NAME\]"),
        ("fallback =", "Invalid value"),
    ],
)
def test_a_faulty_file_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(text, tmp_path)
    assert "classes.toml cannot be used" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        PhotoClasses.load(tmp_path / "nowhere.toml")
