import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from colorgan.classes import PhotoClasses
from colorgan.data.sources import Source, SourceConfig, find_source
from colorgan.data.sources.candidates import FileCandidate
from colorgan.errors import ConfigError

WHOLE = 640 * 480


def image(number: int, **changes: Any) -> dict[str, Any]:
    name = f"{number:012}.jpg"
    return {
        "license": 4,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/val2017/{name}",
        "height": 480,
        "width": 640,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg",
        "id": number,
    } | changes


def annotation(number: int, category: int, share: float, **changes: Any) -> dict[str, Any]:
    return {
        "segmentation": [[510.66, 423.01, 511.72, 420.03, 510.45, 416.0]],
        "area": share * WHOLE,
        "iscrowd": 0,
        "image_id": number,
        "bbox": [473.07, 395.93, 38.65, 28.67],
        "category_id": category,
        "id": 1768,
    } | changes


PERSON, CAR, BENCH, DOG, HORSE = 1, 3, 15, 18, 19
DOCUMENT: dict[str, Any] = {
    "info": {"description": "COCO 2017 Dataset", "url": "http://cocodataset.org", "year": 2017},
    "licenses": [
        {"url": "http://creativecommons.org/licenses/by-nc/2.0/", "id": 2, "name": "BY-NC"},
        {
            "url": "http://creativecommons.org/licenses/by/2.0/",
            "id": 4,
            "name": "Attribution License",
        },
    ],
    "images": [image(number) for number in range(1, 9)],
    "annotations": [
        annotation(1, DOG, 0.2),
        annotation(1, HORSE, 0.1),
        annotation(1, PERSON, 0.05),
        annotation(2, PERSON, 0.3),
        annotation(2, CAR, 0.2),  # mixed
        annotation(3, CAR, 0.04),  # small
        annotation(4, BENCH, 0.9),  # of no class
        annotation(
            6, PERSON, 3.0, iscrowd=1, segmentation={"counts": [272, 2, 4], "size": [480, 640]}
        ),
        annotation(6, CAR, 0.1),
        annotation(7, CAR, 0.06),
        annotation(8, PERSON, 3.0),  # mixed, for no class has more than the whole picture
        annotation(8, CAR, 0.3),
    ],
    # The true file has them last, too.
    "categories": [
        {"supercategory": "person", "id": PERSON, "name": "person"},
        {"supercategory": "vehicle", "id": CAR, "name": "car"},
        {"supercategory": "outdoor", "id": BENCH, "name": "bench"},
        {"supercategory": "animal", "id": DOG, "name": "dog"},
        {"supercategory": "animal", "id": HORSE, "name": "horse"},
    ],
}


def write(document: Mapping[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "instances_val2017.json"
    path.write_text(json.dumps(document))
    return path


def source_of(spec: object, **options: float) -> Source:
    return find_source(f"coco:{spec}", SourceConfig(**options), 286)  # type: ignore[arg-type]


def numbers(source: Source, label: str) -> set[int]:
    return {int(Path(candidate.source).stem) for candidate in source.candidates(label)}


def test_a_photograph_is_of_the_class_that_fills_it(tmp_path: Path) -> None:
    source = source_of(write(DOCUMENT, tmp_path))
    assert source.classes == ("animals", "people", "vehicles")
    assert source.downloads
    assert not source.has_splits
    (dog,) = source.candidates("animals")
    assert dog.source == "http://images.cocodataset.org/val2017/000000000001.jpg"
    assert dog.licence == "Attribution License"
    assert numbers(source, "people") == {6}
    assert numbers(source, "vehicles") == {7}
    assert source.excluded == {"mixed": 2, "too small an object": 1, "of no class": 2}


def test_the_shares_are_options(tmp_path: Path) -> None:
    path = write(DOCUMENT, tmp_path)
    assert numbers(source_of(path, max_others=0.7), "people") == {2, 6, 8}
    assert numbers(source_of(path, max_others=0.05), "people") == set()
    assert numbers(source_of(path, min_area=0.01), "vehicles") == {3, 7}
    assert numbers(source_of(path, min_area=0.5), "vehicles") == set()


def test_images_in_a_folder(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/etc/passwd", "", "a\0b.jpg", "val/000000000005.jpg"]
    images = [image(number, file_name=name) for number, name in enumerate(names, 1)]
    annotations = [annotation(number, DOG, 0.5) for number in range(1, 6)]
    path = write(DOCUMENT | {"images": images, "annotations": annotations}, tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    source = source_of(f"{path},{folder}")
    assert not source.downloads
    assert list(source.candidates("animals")) == [
        FileCandidate(folder / "val/000000000005.jpg", "animals", licence="Attribution License")
    ]
    assert source.excluded == {"not an address": 4}


def test_an_image_without_address_or_licence(tmp_path: Path) -> None:
    plain = image(2, license=9)
    bare = image(1)
    del bare["coco_url"]
    path = write(
        DOCUMENT
        | {
            "images": [bare, plain],
            "annotations": [annotation(1, DOG, 0.5), annotation(2, DOG, 0.5)],
        },
        tmp_path,
    )
    source = source_of(path)
    assert [candidate.licence for candidate in source.candidates("animals")] == [""]
    assert source.excluded == {"not an address": 1}


def test_the_order_is_not_the_files(tmp_path: Path) -> None:
    images = [image(number) for number in range(20)]
    annotations = [annotation(number, DOG, 0.5) for number in range(20)]
    orders = []
    for step in (1, -1):
        document = DOCUMENT | {"images": images[::step], "annotations": annotations}
        source = source_of(write(document, tmp_path))
        orders.append([candidate.source for candidate in source.candidates("animals")])
    assert orders[0] == orders[1] != sorted(orders[0])


def test_a_file_larger_than_the_buffer_is_read_whole(tmp_path: Path) -> None:
    images = [image(number) for number in range(9000)]  # more than 2 MiB
    annotations = [annotation(number, DOG, 0.5) for number in range(9000)]
    document = DOCUMENT | {"images": images, "annotations": annotations}
    source = source_of(write(document, tmp_path))
    assert numbers(source, "animals") == set(range(9000))


def test_annotations_at_an_address(tmp_path: Path) -> None:
    def download(url: str, path: Path) -> None:
        assert url == "https://me:secret@a.org/instances.json"
        path.write_text(json.dumps(DOCUMENT))

    spec = "coco:https://me:secret@a.org/instances.json"
    source = find_source(spec, SourceConfig(), 286, download=download)
    assert numbers(source, "animals") == {1}
    assert source.description == "coco:https://a.org/instances.json"


def test_a_fourth_class_is_data(tmp_path: Path) -> None:
    classes = PhotoClasses({}, 0.05, "", coco={"benches": ("outdoor",)})
    source = find_source(f"coco:{write(DOCUMENT, tmp_path)}", SourceConfig(), 286, classes)
    assert source.classes == ("benches",)
    assert numbers(source, "benches") == {4}
    with pytest.raises(ConfigError, match=r"no table \[coco\]"):
        find_source("coco:x", SourceConfig(), 286, PhotoClasses({}, 0.05, ""))


CAPTIONS = {"annotations": [{"image_id": 1, "id": 38, "caption": "A bicycle replica."}]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_annotations_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(DOCUMENT), encoding=encoding)
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(DOCUMENT))
    assert source_of(path).excluded == source_of(plain).excluded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(DOCUMENT)[:-100], "is incomplete or not JSON"),
        ("", "is incomplete or not JSON"),
        ("PK\x03\x04", "is a zip archive: unpack it"),
        ("{}", "it has no images"),
        ("[]", "it has no images"),
        (json.dumps(DOCUMENT | CAPTIONS), "not of COCO's form: something has no 'category_id'"),
        (json.dumps(DOCUMENT | {"categories": []}), "no photograph of a class .8 of no class"),
        (json.dumps({"images": [image(1, width="wide")]}), "is not of COCO's form"),
        (json.dumps({"annotations": [annotation(1, 1, 1, area=None)]}), "is not of COCO's form"),
        (json.dumps({"annotations": [1], "images": {"1": 2}}), "it has no images"),
        (json.dumps({"annotations": [annotation(1, 1, 1, image_id={})]}), "has no 'image_id'"),
    ],
)
def test_another_file_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"instances\.json .*{message}"):
        source_of(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere is not a folder"):
        source_of(f"{write(DOCUMENT, tmp_path)},/nowhere")
    with pytest.raises(ConfigError, match="/nowhere is not a file"):
        source_of("/nowhere")
