from pathlib import Path

import pytest

from colorgan.classes import PhotoClasses
from colorgan.data.sources import Source, SourceConfig, find_source
from colorgan.errors import ConfigError

# As train-annotations-human-imagelabels-boxable.csv; /m/014j1m is an apple.
LABELS = """ImageID,Source,LabelName,Confidence
000002b66c9c498e,verification,/m/014j1m,0
000002b66c9c498e,verification,/m/0bt9lr,1
000002b66c9c498e,crowdsource-verification,/m/0jbk,1.0
4fa8054781a4c382,verification,/m/01g317,1
4fa8054781a4c382,verification,/m/0k4j,0
b37f763ae67d0888,verification,/m/01g317,1
b37f763ae67d0888,verification,/m/0k4j,1
7e8584b0f487cb9e,verification,/m/014j1m,1
86638230febe21c4,verification,/m/07jdr,1
249086d72671397d,machine,/m/07jdr,0.9
6a1cd4a1b3e1a5c0,verification,/m/07jdr,1
"""
# As train-images-boxable-with-rotation.csv, whose titles and authors hold what people wrote.
HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"
    "OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n"
)
LICENCE = "https://creativecommons.org/licenses/by/2.0/"
IMAGES = (
    HEADER
    + f"""4fa8054781a4c382,train,https://farm3.staticflickr.com/5310/5898076654_51085e157c_o.jpg,\
https://www.flickr.com/photos/michael-beat/5898076654,{LICENCE},\
https://www.flickr.com/people/michael-beat/,Michael Beat,...die FNF-Kerze,4405052,\
KFukvivpCM5QXl5SqKe41g==,https://c1.staticflickr.com/6/5310/5898076654_00643a940c_z.jpg,0.0
000002b66c9c498e,train,https://c7.staticflickr.com/6/5499/10245691204_98dce75b5a_o.jpg,\
https://www.flickr.com/photos/x/1,{LICENCE},https://www.flickr.com/people/x/,"Smith, ""Jo"" A.",\
"The dog,
""Rex"", swims",1,aa==,,
b37f763ae67d0888,train,https://c1.staticflickr.com/1/67/197493648_628a7cb2ee_o.jpg,,{LICENCE},\
,Karen,Three boys on a hill,494555,9IzEn38GRNsVpATuv7gzEA==,,0.0
7e8584b0f487cb9e,train,https://a.org/apple.jpg,,{LICENCE},,,,1,aa==,,0.0
86638230febe21c4,train,,,{LICENCE},,,,1,aa==,,0.0
249086d72671397d,train,https://a.org/train.jpg,,{LICENCE},,,,1,aa==,,0.0
"""
)


def files(tmp_path: Path, **texts: str) -> list[str]:
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text, newline="\r\n")
    return [str(tmp_path / f"{name}.csv") for name in texts]


def source_of(spec: str, classes: PhotoClasses | None = None, seed: int = 0) -> Source:
    return find_source(f"openimages:{spec}", SourceConfig(seed=seed), 286, classes)


def test_verified_labels_of_one_class(tmp_path: Path) -> None:
    source = source_of(",".join(files(tmp_path, labels=LABELS, images=IMAGES)))
    assert source.classes == ("animals", "people", "vehicles")
    assert source.downloads
    assert not source.has_splits
    (dog,) = source.candidates("animals")
    assert dog.source == "https://c7.staticflickr.com/6/5499/10245691204_98dce75b5a_o.jpg"
    assert (dog.licence, dog.split) == (LICENCE, None)
    (person,) = source.candidates("people")
    assert person.source.endswith("5898076654_51085e157c_o.jpg")
    assert list(source.candidates("vehicles")) == []
    assert source.excluded == {"mixed": 1, "not an address": 1, "not among the images": 1}


def test_several_files(tmp_path: Path) -> None:
    head, *labels = LABELS.splitlines(keepends=True)
    images = f"{HEADER}6a1cd4a1b3e1a5c0,validation,https://a.org/tram.jpg,,{LICENCE},,,,1,a,,\n"
    first, second, third, fourth = files(
        tmp_path,
        labels_a=head + "".join(labels[:4]),
        labels_b=head + "".join(labels[4:]),
        images_a=IMAGES,
        images_b=images,
    )
    source = source_of(f"{first}+{second},{third}+{fourth}")
    assert [candidate.source for candidate in source.candidates("vehicles")] == [
        "https://a.org/tram.jpg"
    ]
    # The label of a person and that of a car in one photograph stand in two files.
    assert source.excluded == {"mixed": 1, "not an address": 1}


def test_files_with_boxes_do_as_well(tmp_path: Path) -> None:
    boxes = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
        "IsDepiction,IsInside\n4fa8054781a4c382,xclick,/m/01g317,1,0.01,0.19,0.14,0.58,0,1,0,0,0\n"
        "4fa8054781a4c382,xclick,/m/04yx4,1,0.01,0.19,0.14,0.58,0,1,0,0,0\n"
    )
    source = source_of(",".join(files(tmp_path, boxes=boxes, images=IMAGES)))
    assert len(list(source.candidates("people"))) == 1


def test_the_order_is_that_of_the_seed(tmp_path: Path) -> None:
    ids = [f"{number:016x}" for number in range(20)]
    labels = "ImageID,Source,LabelName,Confidence\n"
    labels += "".join(f"{image},verification,/m/0jbk,1\n" for image in ids)
    lines = [f"{image},train,https://a.org/{image}.jpg,,{LICENCE},,,,1,a,,\n" for image in ids]
    orders = []
    for seed, step in ((1, 1), (1, -1), (2, 1)):
        images = HEADER + "".join(lines[::step])
        spec = ",".join(files(tmp_path, labels=labels, images=images))
        candidates = source_of(spec, seed=seed).candidates("animals")
        orders.append([candidate.source for candidate in candidates])
    assert orders[0] == orders[1] != orders[2]


def test_files_at_addresses() -> None:
    web = {"https://a.org/labels.csv": LABELS, "https://me:secret@a.org/images.csv": IMAGES}
    spec = "openimages:https://a.org/labels.csv,https://me:secret@a.org/images.csv"
    source = find_source(
        spec, SourceConfig(), 286, download=lambda url, path: path.write_text(web[url]) and None
    )
    assert len(list(source.candidates("people"))) == 1
    assert "secret" not in source.description


def test_a_fourth_class_is_data(tmp_path: Path) -> None:
    classes = PhotoClasses({}, 0.05, "", openimages={"fruit": ("/m/014j1m",)})
    spec = ",".join(files(tmp_path, labels=LABELS, images=IMAGES))
    source = source_of(spec, classes)
    assert [candidate.source for candidate in source.candidates("fruit")] == [
        "https://a.org/apple.jpg"
    ]
    with pytest.raises(ConfigError, match=r"no table \[openimages\]"):
        source_of(spec, PhotoClasses({}, 0.05, ""))


@pytest.mark.parametrize(
    ("labels", "images", "message"),
    [
        (IMAGES, IMAGES, r"labels\.csv has no column LabelName and no column Confidence"),
        (LABELS, LABELS, r"images\.csv has no column OriginalURL and no column License"),
        (LABELS, "", r"images\.csv has no column ImageID"),
        (LABELS, HEADER, "no photograph of a class .5 not among the images"),
        (LABELS.splitlines()[0], IMAGES, "no photograph of a class .no such label"),
    ],
)
def test_other_files_are_one_sentence(
    labels: str, images: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        source_of(",".join(files(tmp_path, labels=labels, images=images)))


def test_both_files_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LABELS_CSV,IMAGES_CSV"):
        source_of("labels.csv")
    with pytest.raises(ConfigError, match="/nowhere is not a file"):
        source_of("/nowhere,/nowhere")
