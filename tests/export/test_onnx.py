"""`colorgan export`, run by onnxruntime, and the example that needs nothing of colorgan."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from colorgan.cli import main
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.export.onnx import OnnxModel, export_generator, export_router, run_onnx
from colorgan.images.decoding import Pixels
from colorgan.inference import colorizer as colorizers
from colorgan.inference.colorizer import Colorizer, prepare
from colorgan.inference.router import HeadRouter, LabelRouter, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models import EMBEDDED
from colorgan.models.architectures import (
    CicConfig,
    EncoderUNetConfig,
    GeneratorConfig,
    HeadConfig,
    HypercolumnConfig,
)
from colorgan.models.cic import CicNetwork
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.head import RouterHead
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator
from colorgan.models.view import View
from colorgan.packages.card import find
from colorgan.packages.embedded import EmbeddedStorage
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage
from tests.conftest import CHECKOUT

EXAMPLE = CHECKOUT / "docs/examples/onnx_colorize.py"
ATTENTIVE = EncoderUNetConfig(64, 8, "lab", "batch", "efficientnet_lite0", attention=True)
CLASSES = ("animals", "people", "vehicles")


@dataclass(frozen=True)
class Exported:
    """What `colorgan export assembled` has written to `folder` of the models in `storage`."""

    folder: Path
    storage: Storage
    config: RouterConfig


@pytest.fixture(scope="module")
def exported(staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A router of one class, which saves time, and its slim package, with self-attention."""
    root = tmp_path_factory.mktemp("exported")
    shutil.copytree(staged_scenes, root / "storage")
    dataset = open_dataset(open_storage(str(root / "storage")), "scenes")
    torch.manual_seed(0)
    network = EncoderUNetGenerator(ATTENTIVE, load_classifier().network).eval()
    network.attention.gain.data.fill_(1.0)  # 0 at first, as if there were none
    metrics = {"val_l1": 9.0, "val_psnr": 20.0}
    publish(dataset.storage, "people", dataset, Trained(network, ("people",), {}, metrics, 1.0, ""))
    rule = 'fallback = "people"\nthreshold = 0.25\n[classes.people]\nn10148035 = "groom"\n'
    (root / "classes.toml").write_text(rule)
    config = RouterConfig(classes=str(root / "classes.toml"))
    options = ["--storage", dataset.storage.uri, "--classes", config.classes, "--format", "onnx"]
    assert main(["export", "assembled", *options, "-o", str(root / "models")]) == 0
    return Exported(root / "models", dataset.storage, config)


def facts_of(path: Path) -> dict[str, str]:
    session = onnxruntime.InferenceSession(path)
    return dict(session.get_modelmeta().custom_metadata_map)


def pictures(model: OnnxModel, scenes: list[Pixels], size: int) -> list[Pixels]:
    batch = torch.stack([prepare(scene, size) for scene in scenes])
    colors = run_onnx(model.data, batch)
    space = {2: "lab", 3: "rgb"}[colors.shape[1]]
    return [
        colorizers.recombine(scene, color, space)  # type: ignore[arg-type]
        for scene, color in zip(scenes, colors, strict=True)
    ]


def apart(ours: Pixels, theirs: Pixels) -> int:
    return int(np.abs(ours.astype(int) - theirs).max())


@pytest.mark.slow
def test_slim_packages_are_exported_whole_and_route_and_colour_as_colorgan_does(
    exported: Exported, float32: None
) -> None:
    card = find(exported.storage, "people")
    assert card.encoder is not None  # the package does not hold it
    scenes = [draw_scene(name, 7, 61, 83) for name in CLASSES]
    facts = facts_of(exported.folder / "people.onnx")
    assert facts["model"] == card.reference
    assert (facts["kind"], facts["size"], facts["color_space"]) == ("generator", "64", "lab")
    model = OnnxModel((exported.folder / "people.onnx").read_bytes(), 0.0)
    expected = Colorizer(load_generator(exported.storage, card))(scenes)
    assert max(map(apart, pictures(model, scenes, 64), expected)) <= 1
    router = open_router(exported.config, exported.storage, exact=True)
    routes = router(torch.stack([router.prepare(scene) for scene in scenes]))
    squares = torch.stack([router.classifier.view(scene, gray=False) for scene in scenes])
    scores = run_onnx((exported.folder / "router.onnx").read_bytes(), squares)
    facts = facts_of(exported.folder / "router.onnx")
    assert json.loads(facts["classes"]) == ["people"]
    assert (facts["threshold"], facts["fallback"], facts["size"]) == ("0.25", "people", "224")
    expected_scores = [route.scores["people"] for route in routes]
    assert scores.flatten().tolist() == pytest.approx(expected_scores, abs=1e-5)


@pytest.mark.slow
def test_the_example_colours_without_colorgan_and_pytorch(
    exported: Exported, tmp_path: Path, float32: None
) -> None:
    """It runs with both made unimportable, on a photograph that the camera has turned."""
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    scene = draw_scene("animals", 3, 61, 83)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.rot90(scene)).save(tmp_path / "photo.png", exif=exif)
    blocker = "import sys; sys.modules.update(torch=None, colorgan=None); import runpy; "
    arguments = [
        "example",
        str(exported.folder),
        str(tmp_path / "photo.png"),
        str(tmp_path / "out.png"),
    ]
    code = f"{blocker}sys.argv = {arguments}; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    card = find(exported.storage, "people")
    (expected,) = Colorizer(load_generator(exported.storage, card))([scene])
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert result.shape == scene.shape
    assert apart(result, expected) <= 1
    assert apart(result, np.asarray(Image.fromarray(scene).convert("L").convert("RGB"))) > 1


def _unet() -> Generator:
    return UNetGenerator(GeneratorConfig(size=32, width=4, color_space="rgb"))


def _hypercolumn() -> Generator:
    config = HypercolumnConfig(size=64, width=8, backbone="efficientnet_lite0")
    return HypercolumnNetwork(config)


def _cic() -> Generator:
    return CicNetwork(CicConfig(size=64, width=4))


@pytest.mark.slow
@pytest.mark.parametrize("build", [_unet, _hypercolumn, _cic])
def test_every_kind_of_generator_in_every_colour_space(build: object) -> None:
    torch.manual_seed(0)
    generator = build().eval()  # type: ignore[operator]
    model = export_generator(generator, "general@1")
    assert model.difference <= 1
    size = generator.config.size
    batch = torch.randint(0, 256, (5, 3, size, size), dtype=torch.uint8)
    expected = Colorizer(generator).generate(batch)
    assert run_onnx(model.data, batch).shape == expected.shape


@pytest.mark.slow
def test_a_head_is_exported_with_its_classifier() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1000)
    )
    view = View(32, 36, Image.Resampling.BILINEAR)  # a square of the middle's luma
    classifier = Classifier("tiny", network, view, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    config = HeadConfig("tiny", classifier.fingerprint(), 8, ("cats", "dogs"), 0.1)
    router = HeadRouter(classifier, RouterHead(config), package="router@1")
    model = export_router(router)
    assert model.difference < 0.1
    session = onnxruntime.InferenceSession(model.data)
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["model"], facts["classes"]) == ("router@1", '["cats", "dogs"]')
    assert (facts["size"], facts["resize"], facts["filter"]) == ("32", "36", "BILINEAR")
    gray = np.repeat(draw_scene("animals", 1, 80, 80)[..., :1], 3, axis=2)
    squares = torch.stack([view(gray, gray=False), view(255 - gray, gray=False)])
    scores = run_onnx(model.data, squares)
    routes = router(torch.stack([router.prepare(gray), router.prepare(255 - gray)]))
    expected = [[route.scores["cats"], route.scores["dogs"]] for route in routes]
    assert np.abs(scores.numpy() - np.array(expected)).max() < 1 / 255


def test_the_labels_scores_are_those_of_the_rule() -> None:
    router = open_router(RouterConfig(router="labels"), EmbeddedStorage())
    assert isinstance(router, LabelRouter)
    probabilities = torch.rand(3, 1000, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    scores = router.score(torch.empty(3, 0), probabilities)
    for row, route in zip(scores, router.decide(torch.empty(3, 0), probabilities), strict=True):
        assert dict(zip(router.classes, row.tolist(), strict=True)) == pytest.approx(route.scores)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["animals", "-o", "a.pt"], "error: -o a.pt: give a file that ends in .onnx\n"),
        (["animals", "-o", "a.onnx"], "a.onnx exists: give another name, or --overwrite"),
        (["zebras", "-o", "z.onnx"], "no model 'zebras'"),
        (["router@1", "-o", "r.onnx"], "no version '1' of model 'router'"),
    ],
)
def test_what_cannot_be_exported_is_said_before_any_work(
    options: list[str],
    sentence: str,
    embedded: EmbeddedStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.onnx").write_bytes(b"mine")
    assert main(["export", *options]) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert Path("a.onnx").read_bytes() == b"mine"


def test_it_is_said_that_noise_is_not_exported(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EncoderUNetConfig(64, 8, "lab", "batch", EMBEDDED, noise_channels=2)
    network = EncoderUNetGenerator(config, load_classifier().network)
    publish(scenes.storage, "people", scenes, Trained(network, ("people",), {}, {}, 1.0, ""))
    (tmp_path / "there.onnx").touch()  # so that no work is begun
    command = ["export", "people", "-o", str(tmp_path / "there.onnx")]
    assert main([*command, "--storage", scenes.storage.uri]) == 2
    reference = find(scenes.storage, "people").reference
    note = f"note: {reference} is exported without its noise: it gives variant 1 alone\n"
    assert note in capsys.readouterr().err


def test_without_the_extra_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'colorgan\[onnx\]'"):
        export_generator(_unet(), "general@1")
