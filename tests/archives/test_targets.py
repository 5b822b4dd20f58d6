"""Where the colouring of a photograph goes."""

from pathlib import PurePosixPath

import pytest

from colorgan.archives.listing import Photo
from colorgan.archives.targets import choose_targets

# Photographs as (path, name in their source), and their outputs.
CASES = {
    "the tree is kept": (
        [("/in/a.jpg", "a.jpg"), ("/in/sub/a.jpg", "sub/a.jpg")],
        ["a.png", "sub/a.png"],
    ),
    "files go to one folder": (
        [("/x/a.jpg", "a.jpg"), ("/y/b.tif", "b.tif")],
        ["a.png", "b.png"],
    ),
    "files of several folders with one name": (
        [("/in/x/a.jpg", "a.jpg"), ("/in/y/a.jpg", "a.jpg"), ("/in/y/b.jpg", "b.jpg")],
        ["x/a.png", "y/a.png", "y/b.png"],
    ),
    "several folders with one name": (
        [("/in/x/1/a.jpg", "1/a.jpg"), ("/in/y/1/a.tif", "1/a.tif")],
        ["x/1/a.png", "y/1/a.png"],
    ),
    "a file and a bucket": (
        [("/in/a.jpg", "a.jpg"), ("s3://b/k/a.jpg", "a.jpg")],
        ["in/a.png", "s3:/b/k/a.png"],
    ),
    "formats side by side": (
        [("/in/a.jpg", "a.jpg"), ("/in/a.png", "a.png"), ("/in/a.TIF", "a.TIF")],
        ["a.jpg.png", "a.png", "a.TIF.png"],
    ),
    "upper and lower case": (
        [("/in/a.jpg", "a.jpg"), ("/in/A.jpg", "A.jpg")],
        ["a.jpg.png", "A.jpg-2.png"],
    ),
    "a name that another one would get": (
        [("/in/a.jpg", "a.jpg"), ("/in/a.png", "a.png"), ("/in/a.jpg.png", "a.jpg.png")],
        ["a.jpg-2.png", "a.png", "a.jpg.png"],
    ),
    "names without a suffix": (
        [("/in/a", "a"), ("/in/.b", ".b"), ("/in/c.d.e", "c.d.e")],
        ["a.png", ".b.png", "c.d.png"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tree_and_names_are_kept(case: str) -> None:
    photos, targets = CASES[case]
    assert choose_targets([Photo(*each) for each in photos], lambda name: ".png") == targets


def test_the_suffix_may_depend_on_the_photograph() -> None:
    photos = [Photo(f"/in/{name}", name) for name in ("a.jpg", "a.tif")]
    same = choose_targets(photos, lambda name: PurePosixPath(name).suffix)
    assert same == ["a.jpg", "a.tif"]
