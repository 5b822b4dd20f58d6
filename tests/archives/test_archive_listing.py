"""Which photographs an archive has."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from colorgan.archives.listing import Found, find_photographs
from colorgan.archives.reading import Reader
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.storage import Storage, open_storage
from tests.s3_server import S3Server


def no_datasets() -> Storage:
    raise AssertionError("no source is a dataset")


def find(*sources: str, **options: object) -> Found:
    return find_photographs(sources, no_datasets, **options)  # type: ignore[arg-type]


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    names = ("a.jpg", "B.TIF", "notes.txt", "film.mov", "Thumbs.db", ".hidden.jpg", "no suffix")
    return tree(tmp_path / "in", *names, "sub/a.jpg", "sub/deep/c.png", "__MACOSX/a.jpg")


def test_a_folder_has_what_is_named_as_a_picture(archive: Path) -> None:
    found = find(str(archive))
    assert [photo.name for photo in found.photos] == ["B.TIF", "a.jpg", "no suffix"]
    assert [photo.address for photo in found.photos][1] == str(archive / "a.jpg")
    assert found.left_out == {".txt": 1, ".mov": 1}
    assert any("left out 1 folder inside: --recursive" in note for note in found.notes())


def test_subfolders_are_entered_except_for_the_output(archive: Path) -> None:
    tree(archive, "out/a.png", "out/sub/a.png")
    found = find(str(archive), recursive=True, output=str(archive / "out"))
    names = [photo.name for photo in found.photos]
    assert names == ["B.TIF", "a.jpg", "no suffix", "sub/a.jpg", "sub/deep/c.png"]
    assert found.folders == 0
    with pytest.raises(ConfigError, match="both read and written"):
        find(str(archive), output=f"{archive}/sub/..")


LISTS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("lines", lambda text: text),
    ("Windows", lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n\r\n"),
    ("find -print0", lambda text: text.replace(b"\n", b"\0") + b"\0"),
    ("UTF-16", lambda text: text.decode().encode("utf-16")),
]


@pytest.mark.parametrize(("kind", "write"), LISTS)
@pytest.mark.parametrize("by_stdin", [False, True])
def test_a_list_names_photographs_by_their_common_folder(
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    write: Callable[[bytes], bytes],
    by_stdin: bool,
) -> None:
    monkeypatch.chdir(archive.parent)
    lines = write(b"in/sub/a.jpg\n" + os.fsencode(archive / "sub/deep/c.png") + b"\nin/gone.jpg")
    Path("list").write_bytes(lines)
    found = find("@-" if by_stdin else "@list", read_stdin=lambda: lines)
    assert [photo.name for photo in found.photos] == ["sub/a.jpg", "sub/deep/c.png", "gone.jpg"]
    assert found.photos[0].address == "in/sub/a.jpg"
    assert found.photos[0].absolute().address == str(archive / "sub/a.jpg")


def test_bytes_that_are_no_text_name_the_same_file(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/Stra\xdfe.jpg"
    Path(os.fsdecode(path)).write_bytes(b"content")
    (tmp_path / "list").write_bytes(path)
    (photo,) = find(f"@{tmp_path}/list").photos
    assert Reader(None).read(photo.address) == b"content"


def test_a_photograph_that_is_named_twice_is_taken_once(archive: Path) -> None:
    one = str(archive / "a.jpg")
    assert [photo.address for photo in find(one, str(archive / "B.TIF"), one).photos] == [
        one,
        str(archive / "B.TIF"),
    ]


def test_a_list_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"@.*none: No such file"):
        find(f"@{tmp_path}/none")
    with pytest.raises(ConfigError, match="give a file"):
        find("@-")


def test_a_bucket_is_listed_and_read(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{s3.new_bucket()}"
    storage = open_storage(bucket)
    names = ("in/a.jpg", "in/notes.txt", "in/sub/b.png", "in/out/a.png", "inside.jpg")
    for name in names:
        storage.put(name, name.encode())
    found = find(f"{bucket}/in/", recursive=True, output=f"{bucket}/in/out")
    assert [photo.name for photo in found.photos] == ["a.jpg", "sub/b.png"]
    assert found.left_out == {".txt": 1}
    assert Reader(None).read(found.photos[1].address) == b"in/sub/b.png"
    assert [photo.name for photo in find(f"{bucket}/in").photos] == ["a.jpg"]
    assert [photo.name for photo in find(f"{bucket}/in/sub/b.png").photos] == ["b.png"]


def test_a_dataset_is_listed_and_read(scenes: Dataset) -> None:
    found = find_photographs(["dataset:scenes"], lambda: scenes.storage)
    assert len(found.photos) == 3 * 24
    rows = list(scenes.rows(["animals"], "test"))
    photos = [photo for photo in found.photos if photo.name.startswith("animals/test/")]
    assert len({photo.name for photo in found.photos}) == 3 * 24
    reader = Reader(scenes.storage.uri)
    assert [reader.read(photo.address) for photo in photos] == [row.image for row in rows]
