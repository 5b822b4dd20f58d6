"""Trees of folders as people and programs leave them: classes, splits, links and the rest."""

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from colorgan.data.dataset import SPLITS
from colorgan.data.sources import FolderSource, SourceConfig, find_source
from colorgan.data.sources.candidates import FileCandidate
from colorgan.errors import ConfigError, ImageRejected


def tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def found(source: FolderSource) -> dict[tuple[str, str | None], list[str]]:
    """The files of each class and split, below the source's folder."""
    groups = {
        (label, split): [
            str(candidate.path.relative_to(source.path))
            for candidate in source.candidates(label, split)
        ]
        for label in source.classes
        for split in (SPLITS if source.has_splits else (None,))
    }
    return {group: files for group, files in groups.items() if files}


@pytest.mark.parametrize(
    ("files", "expected", "made_up"),
    [
        (["a/1.jpg", "b/c/2.jpg"], {("a", None): ["a/1.jpg"], ("b", None): ["b/c/2.jpg"]}, ()),
        (
            ["Train/a/1.jpg", "valid/a/2.jpg", "TEST/a/3.jpg"],
            {
                ("a", "train"): ["Train/a/1.jpg"],
                ("a", "val"): ["valid/a/2.jpg"],
                ("a", "test"): ["TEST/a/3.jpg"],
            },
            (),
        ),
        (
            ["training_set/a/1.jpg", "test_set/a/2.jpg"],
            {("a", "train"): ["training_set/a/1.jpg"], ("a", "test"): ["test_set/a/2.jpg"]},
            ("val",),
        ),
        (["train/a/1.jpg"], {("a", "train"): ["train/a/1.jpg"]}, ("val", "test")),
        (["test/a/1.jpg"], {("a", "test"): ["test/a/1.jpg"]}, ()),
        (
            ["val/a/1.jpg", "validation/a/2.jpg", "train/b/3.jpg"],
            {
                ("a", "val"): ["val/a/1.jpg", "validation/a/2.jpg"],
                ("b", "train"): ["train/b/3.jpg"],
            },
            ("test",),
        ),
        (
            ["a/train/1.jpg", "a/test/2.jpg", "b/train/x/3.jpg"],
            {
                ("a", "train"): ["a/train/1.jpg"],
                ("a", "test"): ["a/test/2.jpg"],
                ("b", "train"): ["b/train/x/3.jpg"],
            },
            ("val",),
        ),
        # A train may be a vehicle; and a folder in a class may have any name.
        (
            ["car/1.jpg", "train/2.jpg"],
            {("car", None): ["car/1.jpg"], ("train", None): ["train/2.jpg"]},
            (),
        ),
        (
            ["a/test/1.jpg", "b/2.jpg"],
            {("a", None): ["a/test/1.jpg"], ("b", None): ["b/2.jpg"]},
            (),
        ),
    ],
)
def test_folders_are_classes_and_splits(
    files: Sequence[str],
    expected: dict[tuple[str, str | None], list[str]],
    made_up: tuple[str, ...],
    tmp_path: Path,
) -> None:
    source = FolderSource(tree(tmp_path / "in", *files))
    assert found(source) == expected
    assert source.made_up == made_up


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a/1.jpg", "birds/2.jpg"], r"splits \(train\) and classes \(birds\) side by side"),
        (["a/1.jpg", "Test/2.jpg"], r"splits \(Test\) and classes \(a\) side by side"),
        (["a/train/1.jpg", "a/test/1.jpg", "b/1.jpg"], "a holds splits, and not all classes"),
        (
            ["data/train/a/1.jpg", "data/test/a/1.jpg"],
            "one folder, data, .* give folder:.*/in/data",
        ),
        (
            ["train/1.jpg", "test/2.jpg"],
            r"no folder per class: .*/in/test/CLASS \(photographs outside of .*: 2\)",
        ),
        (
            ["1.jpg", "2.txt"],
            r"no folder per class: .*/in/CLASS \(photographs outside of .*: 1\)",
        ),
        (["__MACOSX/a/1.jpg", ".git/b/2.jpg", "@eaDir/c/3.jpg"], "no folder per class"),
        (
            ["Big Cats/1.jpg", "big cats/2.jpg"],
            "'Big Cats' and 'big cats' would both be 'big-cats'",
        ),
        (["train/Cats/1.jpg", "val/cats/2.jpg"], "'Cats' and 'cats' would both be"),
    ],
)
def test_a_tree_that_may_mean_two_things_is_one_sentence(
    files: Sequence[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        FolderSource(tree(tmp_path / "in", *files))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (
            ["Pets/Cat/1.jpg", "Pets/Dog/2.jpg"],
            "Pets is taken as the only class.* give folder:.*/in/Pets",
        ),
        (["car/1.jpg", "train/2.jpg"], "/in/train holds no folder, so it is taken as a class"),
        (["train/a/1.jpg", "test/2.jpg"], "/in/test has no folder per class"),
    ],
)
def test_what_may_not_be_as_it_is_meant_is_said(
    files: Sequence[str], note: str, tmp_path: Path
) -> None:
    source = FolderSource(tree(tmp_path / "in", *files))
    assert any(re.search(note, each) for each in source.notes), source.notes


def test_photographs_of_no_class_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path, "1.jpg", "train/2.PNG", "train/a/3.jpg", "labels.csv", ".4.jpg")
    assert FolderSource(root).excluded == {"in no class's folder": 2}


def test_what_systems_leave_among_files_is_skipped(tmp_path: Path) -> None:
    left = ["._1.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".thumbnails/1.jpg", "@eaDir/1.jpg"]
    files = [f"a/{name}" for name in ["1.jpg", *left]]
    source = FolderSource(tree(tmp_path, *files, "__MACOSX/a/._1.jpg", "lost+found/x"))
    assert found(source) == {("a", None): ["a/1.jpg"]}
    assert not source.excluded


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "a/1.jpg", "a/x/2.jpg", "b/3.jpg")
    elsewhere = tree(tmp_path / "elsewhere", "4.jpg", "y/5.jpg")
    (root / "c").symlink_to(elsewhere)
    (root / "a/linked.jpg").symlink_to(elsewhere / "4.jpg")
    (root / "a/other").symlink_to(elsewhere / "y")
    for place in ("self", "a/up", "a/x/top", "a/x/same"):
        (root / place).symlink_to(root if place != "a/x/same" else root / "a/x")
    (root / "a/loop").symlink_to("loop")
    assert found(FolderSource(root)) == {
        ("a", None): ["a/1.jpg", "a/linked.jpg", "a/loop", "a/other/5.jpg", "a/x/2.jpg"],
        ("b", None): ["b/3.jpg"],
        ("c", None): ["c/4.jpg", "c/y/5.jpg"],
    }


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
    for name in ("pipe.jpg", "socket.jpg"):
        with pytest.raises(ImageRejected, match="not a file"):
            FileCandidate(tmp_path / name, "cats").read(lambda url: b"")


def test_a_tree_of_many_levels_is_read(tmp_path: Path) -> None:
    deep = "/".join(["a", *("x" * 400)])
    tree(tmp_path, f"{deep}/1.jpg")
    assert found(FolderSource(tmp_path)) == {("a", None): [f"{deep}/1.jpg"]}


def test_home_and_relative_paths_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "photos/a/1.jpg", "lists/a.txt")
    (tmp_path / "lists/a.txt").write_text("http://a.org/1.jpg\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "photos")
    for place in ("~/photos", "."):
        (candidate,) = find_source(f"folder:{place}", SourceConfig(), 286).candidates("a")
        assert candidate.source == f"{tmp_path}/photos/a/1.jpg"
    for place in ("~/lists", "~/lists/a.txt", "a=~/lists/a.txt", "../lists"):
        (candidate,) = find_source(f"urls:{place}", SourceConfig(), 286).candidates("a")
        assert candidate.source == "http://a.org/1.jpg"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("photos", "did you mean folder:photos"),
        ("list.txt", "did you mean urls:list.txt"),
        ("photos.zip", "unpack it"),
        ("folder:photos.zip", r"photos\.zip is not a folder: it is an archive; unpack it"),
        ("folder:list.txt", r"list\.txt is not a folder"),
        ("folder:~nobody-of-this-name/x", "~nobody-of-this-name/x is not a folder"),
    ],
)
def test_what_is_no_source_is_told_apart(
    spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "photos/a/1.jpg", "list.txt", "photos.zip")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        find_source(spec, SourceConfig(), 286)
