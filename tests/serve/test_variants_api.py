"""Several colourings of a photograph over HTTP: `variants` and `variant`."""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

from colorgan.data.dataset import open_dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.noise import FIRST, NoiseChannels, Numbers
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage, open_storage
from serve.backend import LocalBackend
from serve.config import ServeConfig
from serve.workers import Square, _varied
from tests.serve.conftest import MODELS, served
from tests.serve.exchange import encoded, opened, picture, problem
from tests.serve.test_restore_api import DATA as PRINT
from tests.serve.test_shared_pass import ON_THE_CLASSIFIER
from tests.serve.test_shared_pass import mixed as mixed

PHOTO = encoded(picture())


@pytest.fixture(scope="module")
def mixed_client(mixed: Storage) -> Iterator[httpx.Client]:
    """A client of a service whose model of vehicles has noise, and those of others have none."""
    with served(LocalBackend(ServeConfig(storage=mixed.uri)), mixed) as client:
        yield client


def ask(client: httpx.Client, accept: str = "*/*", data: bytes = PHOTO, **params: str | int):
    headers = {"Accept": accept}
    return client.post("/colorize", params=params, content=data, headers=headers)


def unzipped(response: httpx.Response) -> dict[str, np.ndarray]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {
            name: np.asarray(Image.open(io.BytesIO(archive.read(name))))
            for name in archive.namelist()
        }


def parts_of(response: httpx.Response) -> list[EmailMessage]:
    """The parts of an answer in a form, by Python's own parser."""
    assert response.status_code == 200, response.text
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + response.content)
    assert not message.defects and message.get_content_type() == "multipart/form-data"
    return list(message.iter_parts())


def test_a_zip_has_variants_of_which_the_first_is_the_usual_colouring(client: httpx.Client) -> None:
    answer = ask(client, variants=4)
    variants = unzipped(answer)
    assert list(variants) == [f"variant-{number}.png" for number in (1, 2, 3, 4)]
    plain = ask(client)
    with opened(plain) as image:
        np.testing.assert_array_equal(variants["variant-1.png"], np.asarray(image))
    pictures = list(variants.values())
    assert all(each.shape == (60, 80, 3) for each in pictures)
    assert len({each.tobytes() for each in pictures}) == 4
    for name in ("x-colorgan-model", "x-colorgan-class", "x-colorgan-score"):
        assert answer.headers[name] == plain.headers[name]
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["content-disposition"] == 'attachment; filename="variants.zip"'


def test_a_number_means_the_same_colouring_alone_and_in_every_answer(client: httpx.Client) -> None:
    three, two = (unzipped(ask(client, variants=count)) for count in (3, 2))
    np.testing.assert_array_equal(three["variant-2.png"], two["variant-2.png"])
    with opened(ask(client, variant=3)) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), three["variant-3.png"])


def test_a_form_is_sent_to_those_who_prefer_it(client: httpx.Client) -> None:
    accept = "multipart/form-data, application/zip;q=0.5"
    parts = parts_of(ask(client, accept, variants=2, format="jpeg", vividness=0.5))
    assert [each.get_content_type() for each in parts] == ["image/jpeg"] * 2
    assert [each.get_filename() for each in parts] == ["variant-1.jpeg", "variant-2.jpeg"]
    names = [each.get_param("name", header="content-disposition") for each in parts]
    assert names == ["variant-1", "variant-2"]
    plain = ask(client, format="jpeg", vividness=0.5).content
    assert parts[0].get_payload(decode=True) == plain
    for wildcard in ("multipart/*", "multipart/form-data"):
        assert len(parts_of(ask(client, wildcard, variants=2))) == 2
    for other in ("", "application/*, multipart/*", "*/*;q=0.1, multipart/form-data;q=0"):
        assert ask(client, other, variants=2).headers["content-type"] == "application/zip"


def test_pictures_to_choose_from_may_be_small(client: httpx.Client) -> None:
    small = unzipped(ask(client, variants=2, side=40))["variant-2.png"]
    whole = unzipped(ask(client, variants=2))["variant-2.png"]
    assert small.shape == (30, 40, 3)
    shrunk = np.asarray(Image.fromarray(whole).resize((40, 30), Image.Resampling.BICUBIC), float)
    assert np.abs(small - shrunk).mean() < 3
    assert unzipped(ask(client, variants=2, side=80))["variant-2.png"].shape == (60, 80, 3)


def test_small_pictures_keep_the_transparency(client: httpx.Client) -> None:
    photo = picture().convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    small = unzipped(ask(client, data=encoded(photo), variants=2, side=40))["variant-2.png"]
    whole = unzipped(ask(client, data=encoded(photo), variants=2))["variant-2.png"]
    assert (small.shape, whole.shape) == ((30, 40, 4), (60, 80, 4))
    assert np.abs(small[::10, 20, 3].astype(int) - whole[::20, 40, 3]).max() < 12


def test_a_border_stays_gray_and_hints_stay_in_place_in_small_pictures(
    client: httpx.Client,
) -> None:
    hints = json.dumps([{"x": 170, "y": 130, "color": "#0000ff"}])
    small = unzipped(ask(client, data=PRINT, variants=2, side=87, restore="colors", hints=hints))[
        "variant-2.png"
    ].astype(int)
    assert small.shape[1] == 87
    assert np.ptp(small[0], axis=-1).max() == 0
    factor = 87 / np.asarray(Image.open(io.BytesIO(PRINT))).shape[1]
    red, green, blue = small[int(130 * factor), int(170 * factor)]
    assert blue > max(red, green) + 40


BAD = {
    "one is no choice": ({"variants": 1}, "variants: Input should be greater than or equal to 2"),
    "too many": ({"variants": 9}, "variants: Input should be less than or equal to 8"),
    "number 0": ({"variant": 0}, "variant: Input should be greater than or equal to 1"),
    "both": ({"variants": 2, "variant": 2}, "variant: it asks for one colouring"),
    "a side without variants": ({"side": 100}, "side: it sizes the pictures of variants"),
    "by objects": (
        {"model": "objects", "variants": 2},
        "variants: model=objects colours in one way",
    ),
    "one by objects": ({"model": "objects", "variant": 2}, "variant: model=objects colours in one"),
    "a format that is not there": ({"variants": 2, "format": "gif"}, "format: Input should be"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_go_together_is_refused(client: httpx.Client, name: str) -> None:
    params, words = BAD[name]
    problem(client.post("/colorize", params=params, content=PHOTO), 422, words)


def test_an_accept_header_that_takes_one_picture_alone_is_refused(client: httpx.Client) -> None:
    problem(ask(client, "image/png", variants=2), 406, "application/zip, multipart/form-data")


def test_variants_that_are_too_large_together_are_refused(backend: LocalBackend) -> None:
    with served(backend, max_pixels=3 * 80 * 60) as client:
        assert len(unzipped(ask(client, variants=3))) == 3
        problem(ask(client, variants=4), 413, "4 variants of 80 x 60 pixels are more than 14,400")
        assert len(unzipped(ask(client, variants=8, side=40))) == 8


def test_the_models_say_whether_they_have_noise(mixed_client: httpx.Client) -> None:
    noise = {each["name"]: each["noise"] for each in mixed_client.get("/models").json()["models"]}
    assert noise == {"animals": False, "people": False, "vehicles": True, "general": True}


def test_a_model_without_noise_refuses_variants_and_others_do_not(
    mixed_client: httpx.Client,
) -> None:
    """Whichever way it is chosen: by name, by class or by the router."""
    words = "has no noise, so it colours a photograph in one way"
    for params in ({"model": "animals"}, {"class": "people"}):
        problem(ask(mixed_client, variants=2, **params), 422, words)
        way_out = f"{words}; ask for model=vehicles or model=general"
        detail = ask(mixed_client, variant=2, **params).json()["detail"]
        assert detail.startswith("variant: the model ") and detail.endswith(way_out)
        assert ask(mixed_client, **params).status_code == 200
    for params in ({"model": "vehicles"}, {"class": "vehicles"}, {"model": "general"}):
        assert len(unzipped(ask(mixed_client, variants=2, **params))) == 2
    routed = set()
    for kind in ("animals", "vehicles"):
        data = encoded(Image.fromarray(draw_scene(kind, 1, 120, 160)))
        name = mixed_client.post("/classify", content=data).json()["class"]
        answer = ask(mixed_client, data=data, variants=2)
        if name in ON_THE_CLASSIFIER:
            problem(answer, 422, words)
        else:
            assert len(unzipped(answer)) == 2
            assert answer.headers["x-colorgan-class"] == name
            assert "x-colorgan-score" in answer.headers
        routed.add(name in ON_THE_CLASSIFIER)
    assert routed == {True, False}


@pytest.fixture(scope="module")
def noisy(models: Storage, tmp_path_factory: pytest.TempPathFactory) -> LocalBackend:
    """The generators of all classes share the router's pass, and have noise channels."""
    root = tmp_path_factory.mktemp("noisy") / "storage"
    shutil.copytree(Path(models.uri), root)
    storage = open_storage(str(root))
    for seed, model in enumerate(MODELS[:3]):
        torch.manual_seed(seed)
        config = EncoderUNetConfig(224, 8, "lab", "batch", EMBEDDED, noise_channels=4)
        generator = EncoderUNetGenerator(config, load_classifier().network)
        with torch.no_grad():
            generator.write.weight.mul_(20)
            for part in generator.modules():
                if isinstance(part, NoiseChannels):
                    part.layer.weight.normal_()
        trained = Trained(generator, (model,), {}, {"val_l1": 9.0, "val_psnr": 20.0}, 1.0, "cpu")
        publish(storage, model, open_dataset(storage, "scenes"), trained)
    return LocalBackend(ServeConfig(storage=storage.uri))


def test_all_variants_come_from_one_pass_of_the_encoder(noisy: LocalBackend) -> None:
    with served(noisy) as client:
        plain, several = _modules_of(client), _modules_of(client, variants=5)
    convolutions = [each.count("_Convolution") for each in (plain, several)]  # of the encoder alone
    assert convolutions[0] == convolutions[1] > 0
    assert "NoiseChannels" in several and "NoiseChannels" not in plain


def _modules_of(client: httpx.Client, **params: int) -> list[str]:
    """The kinds of the modules that run for a request, in order."""
    run: list[str] = []
    hook = register_module_forward_hook(lambda module, *_: run.append(type(module).__name__))
    try:
        assert ask(client, **params).status_code == 200
    finally:
        hook.remove()
    return run


def test_a_photograph_whose_model_has_lost_its_noise_takes_none_from_others() -> None:
    noisy, plain = np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8)

    def step(photographs: Sequence[Square], numbers: Sequence[Numbers]) -> list[Numbers]:
        numbers = numbers or [FIRST] * len(photographs)
        for photograph, wanted in zip(photographs, numbers, strict=True):
            if photograph.any() and wanted != FIRST:
                raise ConfigError("the model has no noise")
        return [*numbers]

    made = _varied(step, [noisy, plain, noisy], [(1, 2), (1, 2), (3,)])
    assert made == [(1, 2), FIRST, (3,)]
