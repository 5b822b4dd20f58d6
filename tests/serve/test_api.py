"""The HTTP API, in this process and over a real socket, with untrained models."""

import asyncio
import contextlib
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms

from colorgan.export.web import MODELS
from colorgan.images.formats import FORMATS, readable_names
from colorgan.images.lab import rgb_to_lab
from colorgan.models.noise import Numbers
from colorgan.packages.card import find
from colorgan.storage import Storage
from serve.access import API_KEY
from serve.api import create_api
from serve.backend import Backend, LocalBackend
from serve.config import Limits
from serve.workers import PredictedColor, Routed, Square
from tests.serve.conftest import served
from tests.serve.exchange import encoded, opened, picture, problem


def test_a_photograph_comes_back_coloured_at_its_own_size(
    client: httpx.Client, models: Storage
) -> None:
    photo = encoded(picture())
    response = client.post("/colorize", files={"file": ("a.jpg", photo, "text/plain")})
    with opened(response) as colored:
        assert (colored.format, colored.size, colored.mode) == ("PNG", (80, 60), "RGB")
        channels = np.asarray(colored).astype(int)
    assert np.ptp(channels, axis=-1).max() > 5, "there is colour"
    label = response.headers["x-colorgan-class"]
    assert response.headers["x-colorgan-model"] == find(models, label).reference
    assert 0 <= float(response.headers["x-colorgan-score"]) <= 1


def test_the_body_itself_may_be_the_photograph(client: httpx.Client) -> None:
    photo = encoded(picture())
    field = client.post("/colorize", files={"file": photo})
    for media_type in ("image/png", "image/whatever", "application/octet-stream"):
        body = client.post("/colorize", content=photo, headers={"content-type": media_type})
        assert body.content == field.content
    assert client.post("/colorize", content=photo).content == field.content


def test_the_luminance_is_the_photographs_own(client: httpx.Client) -> None:
    import torch

    original = picture(300, 400, seed=3)
    with opened(client.post("/colorize", content=encoded(original))) as colored:
        pair = np.stack([np.asarray(original), np.asarray(colored)])
    lightness = rgb_to_lab(torch.from_numpy(pair).permute(0, 3, 1, 2).float() / 255)[:, 0]
    assert (lightness[0] - lightness[1]).abs().mean() < 1


def test_model_and_class_choose_who_colours(client: httpx.Client, models: Storage) -> None:
    photo = encoded(picture())
    results = {}
    for query, model in (
        ({"class": "vehicles"}, "vehicles"),
        ({"model": "vehicles"}, "vehicles"),
        ({"model": "assembled", "class": "people"}, "people"),
        ({"model": "general"}, "general"),
    ):
        response = client.post("/colorize", params=query, content=photo)
        assert response.headers["x-colorgan-model"] == find(models, model).reference
        assert results.setdefault(model, response.content) == response.content
    assert len(set(results.values())) == 3
    assert "x-colorgan-class" not in response.headers, "general colours without a class"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff", "avif"])
def test_the_format_is_the_clients_choice(client: httpx.Client, format: str) -> None:
    response = client.post("/colorize", params={"format": format}, content=encoded(picture()))
    assert response.headers["content-type"] == f"image/{format}"
    with opened(response) as colored:
        assert colored.format == format.upper()


def test_the_vividness_is_the_clients_choice(client: httpx.Client) -> None:
    photo = encoded(picture())
    chroma = []
    for vividness in (0, 1, 2):
        response = client.post("/colorize", params={"vividness": vividness}, content=photo)
        with opened(response) as colored:
            chroma.append(np.ptp(np.asarray(colored).astype(int), axis=-1).mean())
    assert chroma[0] < 0.1  # of rounding
    assert chroma[2] > 1.5 * chroma[1]
    problem(client.post("/colorize", params={"vividness": 2.1}, content=photo), 422, "vividness")


def test_classify_says_what_the_router_thinks(client: httpx.Client) -> None:
    found = client.post("/classify", content=encoded(picture())).json()
    assert found.keys() == {"class", "score", "scores", "label", "router"}
    assert found["scores"].keys() == {"animals", "people", "vehicles"}
    assert found["scores"][found["class"]] == found["score"]
    assert found["router"] == "labels"


def test_models_health_and_metrics(client: httpx.Client, models: Storage) -> None:
    listed = client.get("/models").json()
    assert [each["name"] for each in listed["models"]] == [
        *("animals", "people", "vehicles", "general")
    ]
    assert listed["models"][0]["model"] == find(models, "animals").reference
    assert listed["router"] == {"name": "labels", "classes": ["animals", "people", "vehicles"]}
    assert client.get("/healthz").json() == {"status": "ok"}
    client.post("/colorize", params={"model": "general"}, content=encoded(picture()))
    exposition = client.get("/metrics").text
    for line in (
        'colorgan_requests_total{endpoint="colorize",model="general",photo_class="auto",'
        'status="200"}',
        'colorgan_stage_seconds_bucket{le="0.1",stage="paint"}',
        'colorgan_batch_photographs_count{model="general"}',
        "colorgan_requests_in_flight 0.0",
    ):
        assert line in exposition


def png(width: int, height: int) -> bytes:
    """A small PNG whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def animated() -> bytes:
    frames = [picture(seed=seed) for seed in (1, 2)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


JPEG = encoded(picture(), "JPEG")
PNG = encoded(picture())
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "empty"),
    "text": (b"not a photograph", 400, "not an image"),
    "html": (b"<!doctype html><p>", 400, "not an image"),
    "zip": (b"PK\x03\x04" + bytes(100), 400, "not an image"),
    "random bytes": (np.random.default_rng(0).bytes(5000), 400, "not an image"),
    "zeros": (bytes(5000), 400, "not an image"),
    "a JPEG's first bytes": (JPEG[:3], 400, "not an image"),
    "a JPEG cut in its header": (JPEG[:100], 400, "truncated"),
    "a JPEG cut in the middle": (JPEG[: len(JPEG) // 2], 400, "truncated"),
    "a PNG's signature": (PNG[:8], 400, "cannot be used"),
    "a PNG cut in the middle": (PNG[: len(PNG) // 2], 400, "truncated"),
    "a PNG with a damaged chunk": (PNG[:60] + b"\xff" * 8 + PNG[68:], 400, "truncated"),
    "a GIF cut short": (encoded(picture(), "GIF")[:200], 400, "cannot be used"),
    "a WebP cut short": (encoded(picture(), "WEBP")[:200], 400, "cannot be used"),
    "a TIFF cut short": (encoded(picture(), "TIFF")[:200], 400, "cannot be used"),
    "a BMP cut short": (encoded(picture(), "BMP")[:200], 400, "truncated"),
    "an animated GIF": (animated(), 400, "animated"),
    "a 60-megapixel bomb": (png(10_000, 6_000), 413, "10000 x 6000"),
    "a bomb for Pillow": (png(30_000, 30_000), 413, "pixels"),
    "a wide bomb": (png(2_000_000_000, 1), 413, "pixels"),
    "a PNG of no size": (png(0, 0), 400, "cannot be used"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500), 415, "JPEG 2000"),
    "a raw file": (b"FUJIFILMCCD-RAW 0201" + bytes(500), 415, "RAF"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "SVG"),
    "PDF": (b"%PDF-1.7\n" + bytes(500), 415, "PDF"),
    "too many bytes": (JPEG + bytes(26 * 1024 * 1024), 413, "bytes"),
}


@pytest.mark.parametrize("endpoint", ["/colorize", "/classify"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_photograph_is_refused_in_words(
    client: httpx.Client, endpoint: str, name: str
) -> None:
    data, status, words = REFUSED[name]
    problem(client.post(endpoint, content=data), status, words)
    if data:
        problem(client.post(endpoint, files={"file": data}), status, words)


def translucent(mode: str = "RGBA") -> Image.Image:
    image = picture().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x8825] = {1: "N", 2: (47.0, 0.0, 0.0)}  # where it was taken
    return encoded(picture(), "JPEG", exif=tags)


def profiled() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return encoded(picture(), "JPEG", icc_profile=profile)


ODD: dict[str, tuple[Callable[[], bytes], tuple[int, int], str]] = {
    "JPEG": (lambda: JPEG, (80, 60), "RGB"),
    "progressive JPEG": (lambda: encoded(picture(), "JPEG", progressive=True), (80, 60), "RGB"),
    "grayscale JPEG": (lambda: encoded(picture().convert("L"), "JPEG"), (80, 60), "RGB"),
    "CMYK JPEG": (lambda: encoded(picture().convert("CMYK"), "JPEG"), (80, 60), "RGB"),
    "JPEG with junk behind": (lambda: JPEG + b"junk" * 100, (80, 60), "RGB"),
    "EXIF upright": (lambda: exif(1), (80, 60), "RGB"),
    "EXIF upside down": (lambda: exif(3), (80, 60), "RGB"),
    "EXIF turned": (lambda: exif(6), (60, 80), "RGB"),
    "EXIF mirrored and turned": (lambda: exif(7), (60, 80), "RGB"),
    "embedded profile": (profiled, (80, 60), "RGB"),
    "grayscale PNG": (lambda: encoded(picture().convert("L")), (80, 60), "RGB"),
    "1-bit PNG": (lambda: encoded(picture().convert("1")), (80, 60), "RGB"),
    "palette PNG": (lambda: encoded(picture().convert("P")), (80, 60), "RGB"),
    "16-bit PNG": (
        lambda: encoded(Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13)),
        (80, 60),
        "RGB",
    ),
    "PNG with opacity": (lambda: encoded(translucent()), (80, 60), "RGBA"),
    "gray PNG with opacity": (lambda: encoded(translucent("LA")), (80, 60), "RGBA"),
    "WebP": (lambda: encoded(picture(), "WEBP"), (80, 60), "RGB"),
    "WebP with opacity": (lambda: encoded(translucent(), "WEBP"), (80, 60), "RGBA"),
    "GIF": (lambda: encoded(picture(), "GIF"), (80, 60), "RGB"),
    "BMP": (lambda: encoded(picture(), "BMP"), (80, 60), "RGB"),
    "TIFF": (lambda: encoded(picture(), "TIFF"), (80, 60), "RGB"),
    "one pixel": (lambda: encoded(picture(32, 32).resize((1, 1))), (1, 1), "RGB"),
    "one row": (lambda: encoded(picture(32, 900).resize((900, 1))), (900, 1), "RGB"),
    "one column": (lambda: encoded(picture(900, 32).resize((1, 900))), (1, 900), "RGB"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_photographs_are_coloured_like_any_other(client: httpx.Client, name: str) -> None:
    make, size, mode = ODD[name]
    with opened(client.post("/colorize", files={"file": make()})) as colored:
        assert (colored.size, colored.mode) == (size, mode)
        assert not colored.getexif(), "metadata is dropped"
        if mode == "RGBA":
            alpha = np.asarray(translucent().getchannel("A"))
            np.testing.assert_array_equal(np.asarray(colored.getchannel("A")), alpha)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"model": "dogs"}, "model: 'dogs' is none of assembled, animals"),
        ({"model": "hypercolumn"}, "'hypercolumn' is none of"),
        ({"class": "dogs"}, "class: 'dogs' is none of auto, animals"),
        ({"format": "gif"}, "format: "),
    ],
)
def test_a_bad_parameter_is_named(client: httpx.Client, query: dict[str, str], words: str) -> None:
    problem(client.post("/colorize", params=query, content=PNG), 422, words)


def test_other_faults_of_a_request_are_problems_too(client: httpx.Client) -> None:
    problem(client.post("/colorize", json={"url": "http://example.org/a.png"}), 415, "json")
    problem(client.post("/colorize", files={"photo": PNG}), 422, "file")
    problem(client.post("/colorize", data={"file": "text"}), 415, "urlencoded")
    form = {"content-type": "multipart/form-data"}
    problem(client.post("/colorize", content=PNG, headers=form), 400, "boundary")
    problem(client.get("/colorize"), 405, "Not Allowed")
    problem(client.get("/nowhere"), 404, "Not Found")


def test_a_body_that_lies_about_its_length_is_cut_off(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1024 * 1024)

    # The server may have answered and closed before everything was sent.
    with contextlib.suppress(httpx.WriteError):
        problem(client.post("/colorize", content=endless()), 413, "bytes")


def test_the_page_lets_nothing_in_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/page/../config.py").status_code == 404
    foreign = {"Origin": "http://elsewhere.example"}
    assert "access-control-allow-origin" not in client.get("/models", headers=foreign).headers


def test_the_page_links_to_the_models_in_the_browser_where_there_are_some(
    client: httpx.Client, backend: LocalBackend, tmp_path: Path
) -> None:
    (tmp_path / MODELS).write_text("{}")
    link = 'href="/?local=1"'
    assert link not in client.get("/").text
    with served(backend, browser_models=str(tmp_path)) as other:
        assert link in other.get("/").text


def test_the_page_offers_the_formats_that_this_installation_reads(client: httpx.Client) -> None:
    text = client.get("/").text
    found = re.search('accept="([^"]+)"', text)
    assert found
    offered = found[1].split(",")
    assert {"image/jpeg", ".jpg", "image/tiff", ".tif", "image/webp"} <= set(offered)
    for each in FORMATS:
        assert set(each.suffixes).isdisjoint(offered) != each.readable, each
    assert readable_names() in text
    assert "$" not in text


def test_openapi_describes_the_photograph_and_the_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/colorize"]["post"]
    assert {"multipart/form-data", "image/jpeg"} <= operation["requestBody"]["content"].keys()
    assert {"200", "400", "413", "415", "422", "503"} <= operation["responses"].keys()
    parameters = {each["name"] for each in operation["parameters"]}
    assert parameters == {
        *("model", "class", "format", "vividness", "hints", "metadata", "page", "restore"),
        *("variants", "variant", "side"),
    }
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"].keys() == {"file", *parameters}


@pytest.mark.slow
def test_what_schemathesis_makes_of_the_openapi_document_brings_no_server_error(
    server: str, tmp_path: Path
) -> None:
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("st"), "run", f"{server}/openapi.json"),
            *("--checks", f"{checks},status_code_conformance", "--max-examples", "20"),
            *("--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_key_is_wanted_where_one_is_set(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, "secret")
    problem(client.post("/classify", content=PNG), 401, "API key")
    wrong = client.post("/classify", content=PNG, headers={"X-API-Key": "wrong"})
    problem(wrong, 401, "API key")
    assert wrong.headers["www-authenticate"] == "Bearer"
    for headers in ({"X-API-Key": "secret"}, {"Authorization": "Bearer secret"}):
        assert client.post("/classify", content=PNG, headers=headers).status_code == 200
    assert client.get("/").status_code == client.get("/healthz").status_code == 200


class HeldBackend:
    """A backend that keeps every photograph until it is told to go on."""

    def __init__(self, backend: Backend) -> None:
        self.router, self.models, self.classify = backend.router, backend.models, backend.classify
        self.detector, self.detect = backend.detector, backend.detect
        self.go_on = asyncio.Event()
        self._backend = backend

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        await self.go_on.wait()
        return await self._backend.route(squares, numbers)

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        return await self._backend.paint(model, squares, numbers)


def test_more_photographs_than_there_is_room_for_are_sent_away_at_once(backend: Backend) -> None:
    room = Limits().max_requests

    async def ask() -> None:
        held = HeldBackend(backend)
        transport = httpx.ASGITransport(create_api(held, Limits()))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            asked = {
                asyncio.create_task(client.post("/colorize", content=JPEG)) for _ in range(2 * room)
            }
            refused: set[asyncio.Task[httpx.Response]] = set()
            while len(refused) < room:
                done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
            for task in refused:
                problem(task.result(), 503, "too many photographs at once")
                assert task.result().headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200
            held.go_on.set()
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * room
            assert (await client.post("/colorize", content=JPEG)).status_code == 200

    asyncio.run(ask())
