"""`colorgan export --format web`: a page that colours in the browser, in a real one."""

import base64
import contextlib
import io
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ColorganError, ConfigError
from colorgan.export import web
from colorgan.export.runtime import PACKAGE, load_runtime
from colorgan.images.decoding import Pixels, resize_square
from colorgan.inference.colorizer import Colorizer, recombine
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage
from serve.backend import LocalBackend
from serve.config import ServeConfig
from tests.browser import Shoot, visit
from tests.serve.conftest import publish_untrained, served
from tests.serve.photograph_page import await_colours, card_of
from tests.serve.photograph_page import choose as choose_on_service

RULE = """
fallback = "people"
threshold = 0.9
[classes.animals]
n02123045 = "tabby"
[classes.people]
n10148035 = "groom"
"""


@dataclass(frozen=True)
class Exported:
    """The folder of an exported page, and the storage of its models."""

    folder: Path
    storage: Storage
    router: RouterConfig

    def colored(self, scene: Pixels, vividness: float = 1.0) -> Pixels:
        """What Python makes of a photograph as one of people."""
        colorizer = Colorizer(load_generator(self.storage, find(self.storage, "people")))
        return colorizer([scene], vividness=vividness)[0]


@pytest.fixture(scope="module")
def exported(staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """By the command, with npm's onnxruntime-web."""
    root = tmp_path_factory.mktemp("web")
    shutil.copytree(staged_scenes, root / "storage")
    storage = open_storage(str(root / "storage"))
    for seed, model in enumerate(("people", "animals")):
        publish_untrained(storage, model, seed)
    (root / "classes.toml").write_text(RULE)
    options = ["--storage", storage.uri, "--router", "labels", "--classes", root / "classes.toml"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        command = ["export", "assembled", "--format", "web", *map(str, options)]
        status = main([*command, "-o", str(root / "page")])
    if "npm" in said.getvalue():
        pytest.skip(said.getvalue().strip())
    assert status == 0, said.getvalue()
    router = RouterConfig(router="labels", classes=str(root / "classes.toml"))
    return Exported(root / "page", storage, router)


@contextlib.contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Python's own server of files, as the command recommends; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(folder)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(address, timeout=60).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert process.poll() is None, "the server ended"
                    time.sleep(0.02)
            yield address
        finally:
            process.terminate()


def photograph(path: Path, turned: bool = False) -> Pixels:
    """Write a drawn photograph, perhaps turned by a quarter; returns it upright."""
    scene = draw_scene("people", 3, 301, 223)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.fromarray(np.rot90(scene) if turned else scene).save(path, exif=exif)
    return scene


def shown(page: Page, selector: str) -> Pixels:
    """The pixels of an <img> at its own size."""
    width, height, data = page.locator(selector).evaluate(
        """async (image) => {
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const { width, height, data } = context.getImageData(0, 0, canvas.width, canvas.height);
            let text = "";
            for (let place = 0; place < data.length; place += 8192)
                text += String.fromCharCode(...data.subarray(place, place + 8192));
            return [width, height, btoa(text)];
        }"""
    )
    rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    return rgba[..., :3]


def apart(ours: Pixels, theirs: Pixels) -> int:
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(int) - theirs).max())


@pytest.mark.slow
def test_a_photograph_is_coloured_with_the_network_off(
    exported: Exported, float32: None, browser: Browser, shoot: Shoot, tmp_path: Path
) -> None:
    scene = photograph(tmp_path / "photo.png", turned=True)
    asked: list[str] = []
    with static_server(exported.folder) as address, visit(browser, address) as page:
        expect(page.locator("#state")).to_contain_text("Ready")
        page.on("request", lambda request: asked.append(request.url))
        page.context.set_offline(True)
        page.get_by_label("Choose photographs").set_input_files(tmp_path / "photo.png")
        card = page.get_by_role("article", name="photo.png")
        expect(card.get_by_role("status")).to_contain_text("Coloured as people, by people@")
        shoot(page, "in-the-browser")
        expected = exported.colored(scene)
        assert apart(shown(page, ".coloured"), expected) <= 2
        assert apart(shown(page, ".coloured"), scene) > 2

        with page.expect_download() as png:
            card.get_by_role("link", name="PNG").click()
        assert png.value.suggested_filename == "photo-colored.png"
        assert apart(np.asarray(Image.open(png.value.path()).convert("RGB")), expected) <= 2
        with page.expect_download() as jpeg:
            card.get_by_role("button", name="JPEG").click()
        assert jpeg.value.suggested_filename == "photo-colored.jpg"
        with Image.open(jpeg.value.path()) as picture:
            assert (picture.format, picture.size) == ("JPEG", scene.shape[1::-1])

        card.get_by_label("It shows").select_option("animals")
        expect(card.get_by_role("status")).to_contain_text("Coloured as animals, by animals@")
        assert apart(shown(page, ".coloured"), expected) > 2
        card.get_by_label("It shows").select_option("people")
        card.get_by_label("Colours").select_option("1.4")
        expect(card.get_by_role("status")).to_contain_text("Coloured as people")
        assert apart(shown(page, ".coloured"), exported.colored(scene, 1.4)) <= 2

        (tmp_path / "broken.png").write_bytes(b"no picture")
        page.get_by_label("Choose photographs").set_input_files(tmp_path / "broken.png")
        broken = page.get_by_role("article", name="broken.png")
        expect(broken.get_by_role("status")).to_contain_text("Save it as JPEG, PNG or WebP")
        assert {url.partition(":")[0] for url in asked} <= {"blob"}


@pytest.mark.slow
def test_the_service_s_page_colours_in_the_browser(
    exported: Exported, browser: Browser, shoot: Shoot, tmp_path: Path
) -> None:
    """With ?local=1 and a folder of models, and says what to do without one."""
    photograph(tmp_path / "photo.png")
    config = ServeConfig(
        storage=exported.storage.uri,
        router=exported.router,
        browser_models=str(exported.folder),
    )
    backend, asked = LocalBackend(config), list[str]()
    with served(backend, browser_models=config.browser_models) as client:
        policies = {
            path: client.get(path).headers["Content-Security-Policy"]
            for path in ("/", "/page/app.js", "/local/worker.js")
        }
        assert ["wasm-unsafe-eval" in policy for policy in policies.values()] == [0, 0, 1]
        assert client.get("/local/").text == (exported.folder / "index.html").read_text()
        assert client.post("/local/models.json").status_code == 405
        address = str(client.base_url)
        with visit(browser, address) as page:
            page.get_by_role("link", name="Colour them in this browser").click()
            expect(page.locator("#served")).to_have_text("Models served here: animals, people.")
            page.on("request", lambda request: asked.append(request.url))
            page.context.set_offline(True)
            choose_on_service(page, tmp_path / "photo.png")
            await_colours(card_of(page, "photo.png"))
            expect(page.get_by_text("Photographs do not leave this browser.")).to_be_visible()
            expect(page.get_by_role("button", name="Correct colours")).to_have_count(0)
            expect(page.get_by_role("combobox", name="Old print")).to_have_count(0)
            expect(page.get_by_role("button", name="Other colours")).to_have_count(0)
            expect(page.get_by_role("radio", name="by objects")).to_have_count(0)
            assert page.get_by_role("link", name="Let the server").get_attribute("href") == "/"
            shoot(page, "local")
            assert {url.partition(":")[0] for url in asked} <= {"blob"}
    with served(backend) as client:
        address = f"{str(client.base_url).rstrip('/')}/?local=1"
        with visit(browser, address, failures=True) as page:
            expect(page.locator("#note")).to_contain_text("colorgan export assembled --format web")


SCALED = """async ([path, pixels, width, height, facts]) => {
    const { squareOf } = await import(path);
    const data = Uint8ClampedArray.from(atob(pixels), (each) => each.charCodeAt(0));
    return Array.from(squareOf({ data, width, height }, facts));
}"""
RECOLORED = """async ([path, pixels, width, height, color, size, vividness]) => {
    const { recolor } = await import(path);
    const data = Uint8ClampedArray.from(atob(pixels), (each) => each.charCodeAt(0));
    recolor({ data, width, height }, Float32Array.from(color), size, vividness);
    return Array.from(data);
}"""


@pytest.mark.slow
def test_the_browser_scales_and_joins_as_python(browser: Browser, tmp_path: Path) -> None:
    """Photographs smaller and larger than the square, upright and lying, and one line."""
    for name, data in web.page_files().items():
        (tmp_path / name).write_bytes(data)
    random, scene = np.random.default_rng(0), draw_scene("animals", 3, 100, 100)
    size = 24
    color = random.uniform(-0.6, 0.6, (2, size, size)).astype(np.float32)
    # The page itself would ask for the models.
    with (
        static_server(tmp_path) as address,
        visit(browser, f"{address}/icon.svg", failures=True) as page,
    ):
        for width, height in ((61, 83), (90, 17), (7, 100), (24, 24), (50, 1)):
            rgba = np.full((height, width, 4), 255, np.uint8)
            rgba[..., :3] = scene[:height, :width]
            pixels = [base64.b64encode(rgba.tobytes()).decode(), width, height]
            square = page.evaluate(SCALED, ["/scaling.js", *pixels, {"size": size}])
            expected = resize_square(rgba[..., :3], size).transpose(2, 0, 1)
            assert apart(np.reshape(square, (3, size, size)), expected) <= 2
            for vividness in (1.0, 1.5):
                arguments = [*pixels, color.flatten().tolist(), size, vividness]
                done = page.evaluate(RECOLORED, ["/color.js", *arguments])
                rgb = np.reshape(done, (height, width, 4))[..., :3]
                joined = recombine(rgba[..., :3], torch.from_numpy(color), "lab", vividness)
                assert apart(rgb, joined) <= 1


def test_weights_that_models_share_are_stored_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shared, photograph = (random.normal(size=(2, 512)).astype(np.float32) for _ in range(2))
    models, expected = {}, {}
    for name in ("router", "people"):
        own = random.normal(size=(512, 300)).astype(np.float32)
        values = {"shared": shared, "own": own, "small": np.float32([2])}
        expected[name] = 2 * (photograph + shared) @ own
        models[name] = _graph(name, values)
    files = web.model_files(models, {"onnxruntime.js": b"", "onnxruntime.wasm": b"12"})
    assert len(files[web.WEIGHTS]) == shared.nbytes + 2 * own.nbytes
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in models:
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
        (result,) = session.run(None, {"photographs": photograph})
        assert np.abs(result - expected[name]).max() < 1e-3
    document = json.loads(files[web.MODELS])
    assert list(files)[-1] == web.MODELS
    assert document["files"] == {
        name: len(files[name])
        for name in ("router.onnx", "people.onnx", web.WEIGHTS, "onnxruntime.wasm")
    }
    assert document["generators"] == {"people": {"size": 8, "filter": "BICUBIC", "model": "people"}}


def _graph(name: str, values: dict[str, np.ndarray]) -> bytes:
    """2 (photographs + shared) own, with an exported model's metadata."""
    steps = [
        ("Add", ["photographs", "shared"], ["sum"]),
        ("MatMul", ["sum", "own"], ["wide"]),
        ("Mul", ["wide", "small"], ["color"]),
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*step) for step in steps],
        name,
        [onnx.helper.make_tensor_value_info("photographs", 1, (2, 512))],
        [onnx.helper.make_tensor_value_info("color", 1, (2, 300))],
        [onnx.numpy_helper.from_array(value, key) for key, value in values.items()],
    )
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    facts = {"size": "8", "model": name}
    if name == "router":
        facts |= {"classes": '["people"]', "threshold": "0", "fallback": "people"}
    onnx.helper.set_model_props(model, facts)
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["animals", "--format", "web", "-o", "page"], "needs a router; export assembled"),
        (["assembled", "--runtime", "a.tgz", "-o", "page"], "--runtime: only --format web"),
        (
            ["assembled", "--format", "web", "-o", "page"],
            "page/index.html first: give another folder",
        ),
        (
            ["assembled", "--format", "web", "-o", "new", "--runtime", "page/index.html"],
            "page/index.html is not the onnxruntime-web",
        ),
        (
            ["assembled", "--format", "web", "-o", "new", "--runtime", "none.tgz"],
            "cannot read none.tgz: No such file",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_before_any_work(
    options: list[str],
    sentence: str,
    embedded: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page").mkdir()
    Path("page/index.html").write_text("mine")
    assert main(["export", *options]) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["index.html"]


def test_models_of_other_colour_spaces_are_refused(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("animals", "people", "vehicles"):
        space = "rgb" if model == "people" else "lab"
        network = UNetGenerator(GeneratorConfig(size=32, width=4, color_space=space))
        metrics = {"val_l1": 9.0, "val_psnr": 20.0}
        publish(scenes.storage, model, scenes, Trained(network, (model,), {}, metrics, 1.0, "cpu"))
    options = ["--storage", scenes.storage.uri, "--format", "web", "-o", str(tmp_path / "page")]
    assert main(["export", "assembled", *options]) == 2
    assert "writes rgb: the page takes models of Lab" in capsys.readouterr().err


def test_without_npm_and_without_the_package_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"--runtime {PACKAGE}"):
        load_runtime()
    (tmp_path / "npm").write_text("#!/bin/sh\necho npm error no network >&2; exit 1\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(ColorganError, match=r"no network; fetch .* --runtime"):
        load_runtime()
