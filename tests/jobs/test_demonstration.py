"""The page of the demo, of models that a test publishes."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError
from colorgan.images.decoding import decode
from colorgan.inference.colorizer import grayscale
from colorgan.storage import Storage
from jobs.demonstration.coloring import color_test_photographs
from jobs.demonstration.page import print_table, write_report
from tests.serve.conftest import publish_untrained


@pytest.fixture
def dataset(scenes: Dataset) -> Dataset:
    publish_untrained(scenes.storage, "animals")
    return scenes


def test_every_test_photograph_is_coloured_and_measured(dataset: Dataset) -> None:
    colored = color_test_photographs(dataset.storage, dataset, "animals")

    originals = [decode(row.image).rgb for row in dataset.rows(("animals",), "test")]
    assert len(colored.rows) == len(originals) > 0
    for (gray, made, original), expected in zip(colored.rows, originals, strict=True):
        assert np.array_equal(original, expected)
        assert np.array_equal(gray, grayscale(expected))
        assert made.shape == expected.shape and not np.array_equal(made, gray)
    assert colored.gain == pytest.approx(1 - colored.model_l1 / colored.gray_l1)


def test_a_class_without_test_photographs_is_named(dataset: Dataset) -> None:
    manifest = dataset.manifest
    none = replace(manifest, shards=tuple(s for s in manifest.shards if "/test-" not in s.key))
    with pytest.raises(ColorganError, match="class 'animals' has no test photograph"):
        color_test_photographs(dataset.storage, Dataset(dataset.storage, none), "animals")


def test_the_page_shows_the_numbers_and_both_sheets(
    dataset: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    named = replace(dataset.manifest, source="folder:<my & your> photographs")
    colored = [color_test_photographs(dataset.storage, dataset, "animals")]

    page, sheet = write_report(dataset.storage, Dataset(dataset.storage, named), colored)
    print_table(colored)

    assert page.endswith("reports/demo/index.html") and sheet.endswith("contact_sheet.png")
    html = dataset.storage.get("reports/demo/index.html").decode()
    assert "folder:&lt;my &amp; your&gt; photographs" in html
    assert "generators of 64 px and width 4" in html
    cells = re.findall("<td>(.*?)</td>", html)
    assert cells[:2] == [colored[0].card.reference, str(len(colored[0].rows))]
    assert cells[2:4] == [f"{colored[0].gray_l1:.1f}", f"{colored[0].model_l1:.1f}"]
    assert len(cells) == html.count("<th>") == 8
    for name in re.findall('<img src="(.*?)"', html):
        picture = Image.open(io.BytesIO(dataset.storage.get(f"reports/demo/{name}")))
        assert picture.format == "PNG"
    assert f"{colored[0].gain:.0%}" in capsys.readouterr().out
