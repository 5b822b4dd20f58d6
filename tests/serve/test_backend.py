import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from colorgan.errors import ColorganError, NotInStorage
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.card import ModelCard, find
from colorgan.storage import Storage, open_storage
from serve.__main__ import main
from serve.backend import find_cards
from serve.workers import GeneratorWorker, RouterWorker
from tests.serve.conftest import MODELS, publish_untrained
from tune.dashboard import main as show_sweeps


@pytest.fixture
def models(models: Storage, tmp_path: Path) -> Storage:
    """A copy of the session's models, to be changed."""
    root = tmp_path / "models"
    shutil.copytree(models.uri, root)
    return open_storage(str(root))


def test_the_latest_of_every_model_is_served_and_pins_go_before(models: Storage) -> None:
    first = find(models, "people")
    second = publish_untrained(models, "people", seed=7)
    served = find_cards(models, ())
    assert list(served) == list(MODELS), "general comes last"
    assert served["people"] == second
    assert find_cards(models, (first.reference,))["people"] == first
    with pytest.raises(NotInStorage, match="no version '1999' of model 'people'"):
        find_cards(models, ("people@1999",))


@pytest.mark.parametrize("local", [True, False])
def test_with_no_model_the_command_that_makes_some_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], local: bool
) -> None:
    options = ["--storage", str(tmp_path), *(["--local"] if local else [])]
    assert main(options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: no model in .* to serve: make demo or python jobs/train_all", line)


def test_a_bad_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0"]) == 2
    assert capsys.readouterr().err == "error: --port must be from 1 to 65535\n"


@pytest.mark.parametrize("serve", [[main, "--local"], [main], [show_sweeps]])
def test_a_port_in_use_is_said_before_any_address(
    models: Storage, serve: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = serve
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert command([*options, "--storage", models.uri, "--port", str(port)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: port {port} of 127.0.0.1 is in use by another program")
    assert len(said.err.splitlines()) == 1
    assert not said.out


def test_a_host_of_another_machine_is_one_sentence(
    models: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--local", "--storage", models.uri, "--host", "192.0.2.1"]) == 1
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err


def test_a_square_made_for_another_size_is_scaled(models: Storage) -> None:
    """During a rolling update the ingress may know the size of the version before."""
    worker = GeneratorWorker(models.uri, find(models, "animals"), "cpu", False)
    square = np.full((3, 96, 96), 90, np.uint8)
    (other,) = worker.work([square])
    (own,) = worker.work([square[:, :64, :64]])
    assert other.color.shape == (2, 64, 64)
    np.testing.assert_allclose(other.color, own.color, atol=1e-3)


def test_a_workers_check_runs_its_network(models: Storage) -> None:
    router = RouterWorker(models.uri, RouterConfig(), find_cards(models, ()), "cpu", False)
    router.check()
    generator = GeneratorWorker(models.uri, find(models, "animals"), "cpu", False)
    generator.check()
    broken = publish_untrained(models, "animals", weight=torch.nan)
    with pytest.raises(RuntimeError, match="colours that are not finite"):
        GeneratorWorker(models.uri, broken, "cpu", False)


def test_a_damaged_package_is_not_served(models: Storage) -> None:
    card: ModelCard = publish_untrained(models, "vehicles", seed=3)
    key = f"models/vehicles/{card.version}/generator.safetensors"
    models.put(key, models.get(key)[:-9])
    with pytest.raises(ColorganError, match="bytes instead of"):
        GeneratorWorker(models.uri, card, "cpu", False)
