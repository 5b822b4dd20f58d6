import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from playwright.sync_api import Browser, Page

from colorgan.data.dataset import open_dataset
from colorgan.evaluation.results import Report
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage, open_storage
from colorgan.web.listening import listen, reserved
from serve.api import create_api
from serve.backend import Backend, LocalBackend
from serve.config import Limits, ServeConfig
from tests.browser import visit
from tests.conftest import CHECKOUT
from tests.survey.reports import write_report

MODELS = ("animals", "people", "vehicles", "general")


def publish_untrained(
    storage: Storage,
    model: str,
    seed: int = 0,
    size: int = 64,
    dataset: str = "scenes",
    weight: float | None = None,
) -> ModelCard:
    """A package whose generator has weights from a seed: fast, and every seed has its colours.

    Args:
        storage: where it is published.
        model: the model's name.
        seed: the weights are drawn from it.
        size: side of the generator's input, in pixels.
        dataset: the dataset that the package names.
        weight: the value of all weights, in place of drawn ones.
    """
    staged = open_dataset(storage, dataset)
    torch.manual_seed(seed)
    generator = UNetGenerator(GeneratorConfig(size=size, width=4))
    if weight is not None:
        for parameter in generator.parameters():
            torch.nn.init.constant_(parameter, weight)
    classes = staged.model_classes(model)
    trained = Trained(generator, classes, {}, {"val_l1": 9.0, "val_psnr": 20.0}, 1.0, "cpu")
    return publish(storage, model, staged, trained)


@pytest.fixture(scope="session")
def models(staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage with a model of every class and a general one."""
    root = tmp_path_factory.mktemp("served") / "storage"
    shutil.copytree(staged_scenes, root)
    storage = open_storage(str(root))
    for seed, model in enumerate(MODELS):
        publish_untrained(storage, model, seed)
    return storage


@contextmanager
def local_server(storage: Storage, **environment: str) -> Iterator[str]:
    """`python -m serve --local` on a port of its own; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serve", "--local", "--storage", storage.uri]
    with subprocess.Popen(
        [*command, "--port", str(port)], cwd=CHECKOUT, env={**os.environ, **environment}
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(6000):
                try:
                    urllib.request.urlopen(f"{address}/healthz", timeout=60)
                    break
                except (urllib.error.URLError, OSError):
                    assert process.poll() is None, "the server ended"
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait(300)


@contextmanager
def served(
    backend: Backend,
    storage: Storage | None = None,
    browser_models: str | None = None,
    **limits: Any,
) -> Iterator[httpx.Client]:
    """The API in a thread of this process, on a port of its own; yields a client of it."""
    with reserved("127.0.0.1", 0) as bound:
        listen(bound)
        api = create_api(backend, Limits(**limits), storage, browser_models)
        config = uvicorn.Config(api, log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=600) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def backend(models: Storage) -> LocalBackend:
    """The backend of untrained models."""
    return LocalBackend(ServeConfig(storage=models.uri))


@pytest.fixture(scope="session")
def client(backend: LocalBackend, models: Storage) -> Iterator[httpx.Client]:
    """A client of the session's server of untrained models."""
    with served(backend, models) as client:
        yield client


@pytest.fixture(scope="session")
def server(client: httpx.Client) -> str:
    """The address of that server."""
    return str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def report(models: Storage) -> Report:
    """In the storage of the session's server."""
    return write_report(models, "autumn-report", size=(320, 240))


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with visit(browser, server) as page:
        yield page


@pytest.fixture
def failing_page(browser: Browser, server: str) -> Iterator[Page]:
    with visit(browser, server, failures=True) as page:
        yield page
