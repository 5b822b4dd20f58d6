"""The application on Ray Serve, deployed on the session's Ray as on a cluster."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml

from cluster.local import LocalRay
from colorgan.names import GENERAL
from colorgan.packages.card import ModelCard, find
from colorgan.storage import Storage, open_storage
from colorgan.survey import create_survey, read_answers
from serve.config import ServeConfig
from serve.deploy import main
from tests.conftest import CHECKOUT, processes
from tests.serve.conftest import MODELS, publish_untrained
from tests.serve.exchange import encoded, opened, picture
from tests.serve.test_variants_api import unzipped
from tests.survey.reports import write_report
from tests.waiting import PATIENCE_S, wait_until

PRODUCTION = CHECKOUT / "serve/production.yaml"
PHOTO = encoded(picture())
SERVED = ("animals", "people")
ALONE = "/alone"  # where the same models are served by one process
CLASSES = """
fallback = "people"
[classes.animals]
n02123045 = "tabby"
[classes.people]
n04350905 = "suit"
"""


def test_the_production_file_is_what_serve_and_the_application_take(models: Storage) -> None:
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load(PRODUCTION.read_text()))
    (application,) = schema.applications
    config = ServeConfig(**application.args)
    assert config.limits.request_timeout_s < schema.http_options.request_timeout_s
    named = {deployment.name for deployment in application.deployments}
    assert named == {"ingress", "router", *MODELS} - {"general"}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("applications: [", 2, "is not valid YAML"),
        ("name: x", 2, "has no `applications`"),
        ("applications: [{import_path: other.app:build}]", 2, "no application of serve.app:build"),
        (
            "applications: [{import_path: 'serve.app:build', args: {limits: {max_bytes: many}}}]",
            *(2, "limits.max_bytes: "),
        ),
        (
            "applications: [{import_path: 'serve.app:build', args: {storage: EMPTY}}]",
            *(1, "no model in .* to serve: make demo"),
        ),
    ],
)
def test_a_file_that_cannot_be_deployed_is_one_sentence(
    content: str,
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(content.replace("EMPTY", str(tmp_path)))
    assert main([str(file)]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and re.search(message, line)


@dataclass
class Service:
    """A deployed application."""

    address: str
    storage: Storage
    deploy: Callable[[], None]
    deploy_from: Callable[[Path], subprocess.CompletedProcess[str]]

    def colorize(self, model: str, photo: bytes = PHOTO, prefix: str = "") -> httpx.Response:
        return httpx.post(
            f"{self.address}{prefix}/colorize",
            params={"model": model},
            content=photo,
            timeout=PATIENCE_S,
        )

    def replica(self, deployment: str, application: str = "colorgan") -> psutil.Process:
        """The process of the deployment's one replica."""
        title = f"ray::ServeReplica:{application}:{deployment}"

        _wait(lambda: len(processes(title)) == 1)  # after an update the one before may still drain
        (found,) = processes(title)
        return found


@pytest.fixture(scope="module")
def service(
    ray_cluster: LocalRay, models: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    storage = open_storage(str(folder / "storage"))
    shutil.copytree(Path(models.uri), Path(storage.uri))
    for model in set(MODELS) - {*SERVED, GENERAL}:  # every replica costs seconds on two cores
        storage.delete(f"models/{model}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config: dict[str, Any] = yaml.safe_load(PRODUCTION.read_text())
    config["http_options"]["port"] = port
    (application,) = config["applications"]
    classes = folder / "classes.toml"
    classes.write_text(CLASSES)
    # tests/inference/test_compilation.py compiles.
    application["args"] |= {"storage": storage.uri, "compile": False}
    application["args"]["router"]["classes"] = str(classes)
    application["deployments"] = [
        deployment
        for deployment in application["deployments"]
        if deployment["name"] in ("ingress", "router", *SERVED)
    ]
    application["deployments"].append({"name": GENERAL, "autoscaling_config": {}})
    for deployment in application["deployments"]:
        del deployment["autoscaling_config"]
        deployment["ray_actor_options"] = {"num_cpus": 0.1}
        deployment["health_check_timeout_s"] = 300  # a loaded machine is not an unhealthy one
    alone = {
        **application,
        "name": ALONE.strip("/"),
        "route_prefix": ALONE,
        "args": {**application["args"], "one_process": True},
        "deployments": [each for each in application["deployments"] if each["name"] == "ingress"],
    }
    config["applications"].append(alone)
    file = folder / "production.yaml"
    file.write_text(yaml.safe_dump(config))
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **ray_cluster.environment, "COLORGAN_WARM_COMMANDS": "1"}

    def command(*arguments: str) -> None:
        address = ("--address", ray_cluster.jobs_address)
        command = [sys.executable, "-m", *arguments, *address]
        subprocess.run(command, check=True, env=environment, cwd=CHECKOUT)

    def deploy() -> None:
        command("serve.deploy", str(file))

    def deploy_from(checkout: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "serve.deploy", file, "--address", ray_cluster.jobs_address],
            env={**environment, "PYTHONPATH": f"{checkout}{os.pathsep}{environment['PYTHONPATH']}"},
            cwd=checkout,
            capture_output=True,
            text=True,
        )

    deploy()
    _wait(lambda: httpx.get(f"{address}/healthz", timeout=PATIENCE_S).status_code == 200)
    yield Service(address, storage, deploy, deploy_from)
    command("ray.serve.scripts", "shutdown", "--yes")


def _wait(happened: Callable[[], bool]) -> None:
    def ask() -> bool:
        try:
            return happened()
        except httpx.HTTPError:
            return False

    wait_until(ask, every_s=0.2)


@pytest.mark.slow
def test_every_model_colours_through_its_own_deployment(service: Service) -> None:
    for model in SERVED:
        response = service.colorize(model)
        assert response.headers["x-colorgan-model"] == find(service.storage, model).reference
        with opened(response) as colored:
            assert colored.size == (80, 60)
    classified = httpx.post(f"{service.address}/classify", content=PHOTO, timeout=PATIENCE_S)
    assert classified.json()["scores"].keys() == {*SERVED}


@pytest.mark.slow
def test_one_process_answers_as_a_process_for_each_model(service: Service) -> None:
    for model in (*SERVED, "assembled"):
        photo = encoded(picture(seed=7))
        composed, alone = (service.colorize(model, photo, prefix) for prefix in ("", ALONE))
        for name in ("x-colorgan-model", "x-colorgan-class", "x-colorgan-score"):
            assert alone.headers.get(name) == composed.headers.get(name)
        with opened(composed) as first, opened(alone) as second:
            np.testing.assert_allclose(np.asarray(first), np.asarray(second), atol=1)
    composed, alone = (
        httpx.post(f"{service.address}{prefix}/classify", content=PHOTO, timeout=PATIENCE_S)
        for prefix in ("", ALONE)
    )
    assert alone.json() == composed.json()
    assert processes("ServeReplica:alone:ingress")
    assert not processes("ServeReplica:alone:router")


@pytest.mark.slow
def test_variants_and_objects_come_from_both_forms_alike(service: Service) -> None:
    cat = (CHECKOUT / "serve/page/samples/chelsea.jpg").read_bytes()
    choices: list[dict[str, str | int]] = [
        {"variants": 3, "format": "png"},
        {"model": "objects"},
        {"model": "general", "variant": 2},
    ]
    for params in choices:
        composed, alone = (
            httpx.post(
                f"{service.address}{prefix}/colorize",
                params=params,
                content=cat,
                timeout=PATIENCE_S,
            )
            for prefix in ("", ALONE)
        )
        assert composed.status_code == alone.status_code == 200, composed.text
        for name in ("content-type", "x-colorgan-model", "x-colorgan-objects"):
            assert alone.headers.get(name) == composed.headers.get(name)
        for first, second in zip(_pictures(composed), _pictures(alone), strict=True):
            np.testing.assert_allclose(first, second, atol=1)


def _pictures(response: httpx.Response) -> list[np.ndarray]:
    if response.headers["content-type"] == "application/zip":
        return [each.astype(int) for each in unzipped(response).values()]
    with opened(response) as image:
        return [np.asarray(image).astype(int)]


@pytest.mark.slow
def test_through_serves_proxy_requests_are_answered_as_without_it(service: Service) -> None:
    for path in ("/", "/healthz", "/models"):
        head = httpx.head(f"{service.address}{path}", timeout=PATIENCE_S)
        assert (head.status_code, head.content) == (200, b"")
        options = httpx.options(f"{service.address}{path}", timeout=PATIENCE_S)
        assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    fields = [("format", (None, "jpeg")), ("file", ("a.png", PHOTO))]
    colored = httpx.post(
        f"{service.address}/colorize?model=people", files=fields, timeout=PATIENCE_S
    )
    assert colored.headers["content-type"] == "image/jpeg"

    def counted(line: str) -> bool:
        return line in httpx.get(f"{service.address}/metrics", timeout=PATIENCE_S).text

    host, port = service.address.removeprefix("http://").split(":")
    head = (
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 999\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}\r\n".encode() + PHOTO[:500])
        _wait(lambda: counted("colorgan_upload_bytes 500.0"))
    # The proxy may not tell that the client has gone; then the time limit of uploads ends it.
    _wait(lambda: counted("colorgan_upload_bytes 0.0"))


@pytest.mark.slow
def test_an_address_that_serve_would_not_listen_on_is_refused(
    service: Service, ray_cluster: LocalRay, tmp_path: Path
) -> None:
    environment = {**os.environ, **ray_cluster.environment, "RAY_ADDRESS": ray_cluster.address}
    environment |= {"COLORGAN_WARM_COMMANDS": "1"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    classes = tmp_path / "classes.toml"
    classes.write_text(CLASSES)
    command = [sys.executable, "-m", "serve", "--storage", service.storage.uri]
    done = subprocess.run(
        [*command, "--classes", str(classes), "--port", str(port)],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    listens = service.address.removeprefix("http://")
    assert f"error: Ray Serve runs on this cluster already, and listens on {listens}" in done.stderr


@pytest.mark.slow
def test_what_shares_a_batch_does_not_change_a_photographs_colours(service: Service) -> None:
    photos = [encoded(picture(seed=seed)) for seed in range(16)]
    alone = [service.colorize("animals", photo) for photo in photos]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda photo: service.colorize("animals", photo), photos))
    for one, other in zip(alone, together, strict=True):
        with opened(one) as first, opened(other) as second:
            difference = np.asarray(first).astype(int) - np.asarray(second)
            assert np.abs(difference).max() <= 1
    exposition = httpx.get(f"{service.address}/metrics", timeout=PATIENCE_S).text
    bucket = 'colorgan_batch_photographs_bucket{le="%s",model="animals"} '
    single, all_of_them = (
        float(exposition.split(bucket % limit)[1].split()[0]) for limit in ("1.0", "+Inf")
    )
    assert single < all_of_them, "some photographs were coloured together"


@dataclass
class Load:
    """Photographs sent without a pause, and how each was answered."""

    answers: list[tuple[int, str]]


@pytest.fixture
def load(service: Service) -> Iterator[Load]:
    kept: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                response = service.colorize("people")
                model = response.headers.get("x-colorgan-model", response.text)
                kept.append((response.status_code, model))
            except httpx.HTTPError as error:
                kept.append((0, repr(error)))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield Load(kept)
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_a_new_latest_is_served_without_a_failed_request(service: Service, load: Load) -> None:
    before = find(service.storage, "people").reference
    _wait(lambda: (200, before) in load.answers)
    replicas = {each.pid for each in processes("ServeReplica:")}
    after: ModelCard = publish_untrained(service.storage, "people", seed=99)
    service.deploy()
    _wait(lambda: load.answers[-8:] == [(200, after.reference)] * 8)
    alone = service.colorize("people", prefix=ALONE)
    assert alone.headers["x-colorgan-model"] == after.reference
    assert {each.pid for each in processes("ServeReplica:")} == replicas, "loaded in place"
    assert {status for status, _ in load.answers} == {200}, load.answers
    assert {model for _, model in load.answers} == {before, after.reference}


@pytest.mark.slow
def test_a_killed_generator_comes_back_by_itself(service: Service, load: Load) -> None:
    _wait(lambda: len(load.answers) > 5)
    victim = service.replica("people")
    victim.kill()
    killed = len(load.answers)
    _wait(lambda: len(load.answers) > killed + 10 and load.answers[-1][0] == 200)
    failed = [answer for answer in load.answers if answer[0] != 200]
    assert len(failed) <= 3, failed  # one in flight a thread of the load
    assert all(status == 503 and "try again" in answer for status, answer in failed), failed
    assert service.replica("people").pid != victim.pid
    assert service.colorize("animals").status_code == 200


@pytest.mark.slow
def test_a_killed_ingress_loses_no_answer_of_a_survey(service: Service) -> None:
    survey = create_survey(write_report(service.storage, "asked"), 4)
    participants = 20

    def persist(ask: Callable[[], httpx.Response]) -> Any:
        """Until it is answered, as the page does; a gap of service is no refusal."""
        while True:
            try:
                response = ask()
            except httpx.HTTPError:
                continue
            if response.status_code == 200:
                return response.json()
            assert response.status_code >= 500, response.text

    def take_part(_: int) -> None:
        base = f"{service.address}/survey/{survey.name}"
        with httpx.Client(base_url=base, timeout=PATIENCE_S) as http:
            for question in persist(lambda: http.get("/questions"))["questions"]:
                number, token = question["question"], question["pictures"][0]
                body = {"question": number, "token": token}
                persist(lambda body=body: http.post("/answers", json=body))

    with ThreadPoolExecutor(participants) as pool:
        done = pool.map(take_part, range(participants))
        _wait(lambda: len(read_answers(service.storage, survey)) >= 5)
        victim = service.replica("ingress")
        victim.kill()
        list(done)
    assert service.replica("ingress").pid != victim.pid
    kept = read_answers(service.storage, survey)
    assert len(kept) == len({(each.participant, each.question) for each in kept})
    counted = persist(lambda: httpx.get(f"{service.address}/survey/{survey.name}/results"))
    # Who was new when the ingress died may have come back as somebody else; nobody lost an answer.
    assert counted["votes"] == len(kept) == participants * 4


@pytest.mark.slow
def test_a_cluster_that_runs_other_code_is_refused(service: Service, tmp_path: Path) -> None:
    """The deploying checkout differs from the one that Ray was started in."""
    other = tmp_path / "other"
    for package in ("colorgan", "cluster", "serve", "tune"):
        shutil.copytree(CHECKOUT / package, other / package)
    with (other / "serve/app.py").open("a") as module:
        module.write("# changed\n")

    def refused() -> str:
        """The sentence of a refusal; a loaded Ray may fail before it has looked at the code."""
        failed = service.deploy_from(other)
        assert failed.returncode == 1
        (line,) = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
        print(failed.stderr)
        return line if "another version" in line else ""

    line = wait_until(refused)
    assert f"runs another version of colorgan, in {CHECKOUT}, than the service was" in line
    assert line.endswith(f"deploy it from {CHECKOUT}, or install the same version on every machine")
    assert service.colorize("people").status_code == 200, "the replicas before still serve"
