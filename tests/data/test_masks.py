import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.data.masks import (
    IGNORED,
    VOC_CLASSES,
    MaskedFolder,
    encode_mask,
    resize_mask,
    write_scenes,
)
from colorgan.data.scenes import REGIONS, draw_mask
from colorgan.errors import ColorganError, ConfigError, Corrupt

SIZE = 32


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scenes; to be read only."""
    folder = tmp_path_factory.mktemp("scenes") / "voc"
    assert write_scenes(folder, 5, seed=1, size=SIZE) == {"train": 12, "val": 3}
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "voc"
    shutil.copytree(drawn, copied)
    return copied


def test_scenes_are_written_with_their_exact_masks_in_vocs_layout(drawn: Path) -> None:
    read = MaskedFolder(drawn)
    assert read.classes == REGIONS
    names = read.names("train") + read.names("val")
    assert len(set(names)) == 15
    for one in read.read(names):
        label, seed, number = one.name.split("-")
        expected = draw_mask(label, int(seed) * 1_000_000 + int(number), SIZE, one.mask.shape[1])
        assert np.array_equal(one.mask, expected)
        assert one.picture.shape == (*expected.shape, 3)
        assert np.array_equal(read.mask(one.name), expected)
    assert read.mask("nowhere") is None


def test_the_palette_is_vocs() -> None:
    image = Image.open(io.BytesIO(encode_mask(np.array([[0, 1, 2, 15, 20, 255]], np.uint8))))
    assert image.mode == "P"
    assert np.asarray(image).tolist() == [[0, 1, 2, 15, 20, 255]]
    colors = np.asarray(image.convert("RGB"))[0].tolist()
    assert colors == [
        *([0, 0, 0], [128, 0, 0], [0, 128, 0]),
        *([192, 128, 128], [0, 64, 128], [224, 224, 192]),  # person, tvmonitor, border
    ]


def test_without_labels_the_classes_are_vocs(folder: Path) -> None:
    (folder / "labels.txt").unlink()
    assert MaskedFolder(folder).classes == VOC_CLASSES
    assert (len(VOC_CLASSES), VOC_CLASSES[15]) == (21, "person")


def test_a_mask_may_have_pixels_that_do_not_count(folder: Path) -> None:
    name = MaskedFolder(folder).names("train")[0]
    path = folder / "SegmentationClass" / f"{name}.png"
    mask = np.array(Image.open(path))
    mask[:2] = IGNORED
    path.write_bytes(encode_mask(mask))
    (read,) = MaskedFolder(folder).read([name])
    assert (read.mask[:2] == IGNORED).all()
    assert (resize_mask(read.mask, 16, 20)[0] == IGNORED).all()


def _replace_mask(image: Image.Image | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "SegmentationClass" / "animals-1-00000.png"
        path.unlink()
        if image:
            image.save(path)

    return change


def _truncate(folder: Path) -> None:
    path = folder / "SegmentationClass" / "animals-1-00000.png"
    path.write_bytes(path.read_bytes()[:60])


FAULTS: list[tuple[Callable[[Path], None], type[ColorganError], str]] = [
    (
        lambda folder: shutil.rmtree(folder / "SegmentationClass"),
        *(ConfigError, "has no folder SegmentationClass: give a folder in PASCAL VOC's layout"),
    ),
    (
        lambda folder: (folder / "ImageSets/Segmentation/train.txt").unlink(),
        *(ConfigError, "train.txt: it lists the pictures of the split"),
    ),
    (
        lambda folder: (folder / "ImageSets/Segmentation/train.txt").write_text("\n"),
        *(ConfigError, "lists no picture"),
    ),
    (
        lambda folder: (folder / "labels.txt").write_text("sky\nsky\n"),
        *(ConfigError, "must name 2 to 254 classes, each once"),
    ),
    (
        lambda folder: (folder / "labels.txt").write_text("sky\nground\n"),
        *(Corrupt, r"has the value \d, and there are 2 classes"),
    ),
    (
        lambda folder: (folder / "JPEGImages/animals-1-00000.jpg").unlink(),
        *(ConfigError, "has no picture animals-1-00000"),
    ),
    (
        lambda folder: (folder / "JPEGImages/animals-1-00000.jpg").write_text("no picture"),
        *(Corrupt, "animals-1-00000.jpg cannot be read"),
    ),
    (_replace_mask(None), ConfigError, "has no mask animals-1-00000.png"),
    (_replace_mask(Image.new("RGB", (8, 8))), Corrupt, "must be a palette or an 8-bit gray PNG"),
    (_replace_mask(Image.new("L", (8, 8))), Corrupt, "has another size than the picture: 8 x 8"),
    (_truncate, Corrupt, "cannot be read as a mask"),
]


@pytest.mark.parametrize(("damage", "kind", "message"), FAULTS)
def test_what_is_wrong_with_a_folder_is_one_sentence(
    folder: Path, damage: Callable[[Path], None], kind: type[ColorganError], message: str
) -> None:
    damage(folder)
    with pytest.raises(kind, match=message):
        list((read := MaskedFolder(folder)).read(read.names("train")))


def test_scenes_do_not_replace_files_unasked(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--overwrite"):
        write_scenes(folder, 5, seed=1, size=SIZE)
    write_scenes(folder, 5, seed=1, size=SIZE, overwrite=True)
