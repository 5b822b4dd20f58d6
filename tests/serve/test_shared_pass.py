"""The service where the router's pass gives the colours, too."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from colorgan.data.dataset import open_dataset
from colorgan.inference.colorizer import prepare
from colorgan.inference.router_choice import RouterConfig
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage, open_storage
from serve.backend import LocalBackend, find_cards, find_parts, loading_of
from serve.config import ServeConfig
from serve.workers import GeneratorWorker, RouterWorker, load_workers
from tests.serve.conftest import served
from tests.serve.exchange import encoded, opened, picture

ON_THE_CLASSIFIER = ("animals", "people")


def publish_on_the_classifier(storage: Storage, model: str, seed: int) -> ModelCard:
    torch.manual_seed(seed)
    config = EncoderUNetConfig(224, 8, "lab", "batch", EMBEDDED)
    generator = EncoderUNetGenerator(config, load_classifier().network)
    with torch.no_grad():
        generator.write.weight.mul_(20)
    trained = Trained(generator, (model,), {}, {"val_l1": 9.0, "val_psnr": 20.0}, 1.0, "cpu")
    return publish(storage, model, open_dataset(storage, "scenes"), trained)


@pytest.fixture(scope="module")
def mixed(models: Storage, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Two generators on the router's classifier, one of a smaller square, and a general one."""
    root = tmp_path_factory.mktemp("mixed") / "storage"
    shutil.copytree(Path(models.uri), root)
    storage = open_storage(str(root))
    for seed, model in enumerate(ON_THE_CLASSIFIER):
        publish_on_the_classifier(storage, model, seed)
    return storage


@pytest.fixture(scope="module")
def client(mixed: Storage) -> Iterator[httpx.Client]:
    with served(LocalBackend(ServeConfig(storage=mixed.uri)), mixed) as client:
        yield client


def test_the_routers_worker_answers_with_the_colours_of_the_generators_worker(
    mixed: Storage,
) -> None:
    router = RouterWorker(mixed.uri, RouterConfig(), find_cards(mixed, ()), "cpu", False)
    assert router.info.painters == frozenset(ON_THE_CLASSIFIER)
    photographs = [np.asarray(picture(seed=seed)) for seed in range(4)]
    squares = [router.info.view(each).numpy() for each in photographs]
    answers = router.work(squares)
    assert [answer.route.photo_class for answer in answers] == [
        route.photo_class for route in router.classify(squares)
    ]
    assert any(answer.painted for answer in answers)
    for photograph, answer in zip(photographs, answers, strict=True):
        model = answer.route.best_class
        assert (answer.painted is not None) == (model in ON_THE_CLASSIFIER)
        if answer.painted:
            card = find(mixed, model)
            worker = GeneratorWorker(mixed.uri, card, "cpu", False)
            (expected,) = worker.work([prepare(photograph, 224).numpy()])
            assert answer.painted.model == worker.info
            np.testing.assert_allclose(answer.painted.color, expected.color, atol=2e-3)


def test_one_process_loads_a_generator_once_and_one_encoder_for_all(mixed: Storage) -> None:
    config = ServeConfig(storage=mixed.uri, device="cpu")
    workers = load_workers(loading_of(config), find_parts(config).choice)
    first, second = (workers.router.colorizers[name] for name in ON_THE_CLASSIFIER)
    assert isinstance(first.generator, EncoderUNetGenerator)
    assert isinstance(second.generator, EncoderUNetGenerator)
    assert first.generator.encoder is second.generator.encoder
    square = np.full((3, 224, 224), 90, np.uint8)
    for name in ON_THE_CLASSIFIER:
        alone = GeneratorWorker(mixed.uri, find(mixed, name), "cpu", False)
        ours, expected = (each.work([square])[0] for each in (workers.generators[name], alone))
        np.testing.assert_array_equal(ours.color, expected.color)


@pytest.mark.parametrize("seed", range(3))
def test_a_photograph_is_coloured_as_by_its_model_alone(client: httpx.Client, seed: int) -> None:
    photo = encoded(picture(seed=seed))
    routed = client.post("/colorize", content=photo)
    model = routed.headers["x-colorgan-model"]
    alone = client.post("/colorize", params={"model": model.partition("@")[0]}, content=photo)
    assert alone.headers["x-colorgan-model"] == model
    assert (
        routed.headers["x-colorgan-class"]
        == client.post("/classify", content=photo).json()["class"]
    )
    colors = [np.asarray(opened(each)) for each in (routed, alone)]
    assert np.abs(colors[0].astype(int) - colors[1]).max() <= 1


def test_the_colours_of_one_pass_cost_no_second_one(client: httpx.Client) -> None:
    def painted() -> float:
        lines = client.get("/metrics").text.splitlines()
        counts = [line for line in lines if 'stage="paint"' in line and "_count" in line]
        return sum(float(line.split()[-1]) for line in counts)

    photo = encoded(picture(seed=0))
    model = client.post("/colorize", content=photo).headers["x-colorgan-model"]
    assert model.partition("@")[0] in ON_THE_CLASSIFIER
    before = painted()
    client.post("/colorize", content=photo)
    assert painted() == before
    client.post("/colorize", params={"model": model.partition("@")[0]}, content=photo)
    assert painted() == before + 1
