"""What a client may say of a photograph, and how it may send it, over a real socket."""

import io
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serve.access import API_KEY
from serve.backend import LocalBackend
from serve.config import Limits
from tests.serve.conftest import served
from tests.serve.exchange import encoded, problem
from tests.waiting import wait_until

Parts = list[tuple[str, Any]]

GRADIENT = Image.linear_gradient("L").resize((40, 30))
PHOTO = encoded(GRADIENT, "JPEG")
SCAN = encoded(GRADIENT, "TIFF", save_all=True, append_images=[Image.new("L", (20, 10))])
FILE = ("file", ("photograph.jpg", PHOTO, "image/jpeg"))


def metric(client: httpx.Client, name: str) -> float:
    """The sum of the samples whose line holds a text."""
    lines = client.get("/metrics").text.splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if name in line and "_created" not in line and line[0] != "#"
    )


@pytest.mark.parametrize("before", [True, False])
def test_fields_of_the_form_choose_as_the_query_does(client: httpx.Client, before: bool) -> None:
    fields: Parts = [
        (name, (None, value))
        for name, value in (("format", "jpeg"), ("vividness", "0"), ("model", "general"))
    ]
    form = client.post("/colorize", files=[*fields, FILE] if before else [FILE, *fields])
    query = {"format": "jpeg", "vividness": 0, "model": "general"}
    assert form.headers["content-type"] == "image/jpeg"
    assert form.content == client.post("/colorize", params=query, content=PHOTO).content
    with Image.open(io.BytesIO(form.content)) as colored:
        assert np.ptp(np.asarray(colored).astype(int), axis=-1).max() <= 1, "it is gray"
    mixed = client.post(
        "/colorize?format=jpeg&vividness=0", files=[FILE, ("model", (None, "general"))]
    )
    assert mixed.content == form.content


COLORIZE, CLASSIFY = "/colorize", "/classify"


def text(name: str, value: str) -> tuple[str, Any]:
    """A field of the form that is no file."""
    return name, (None, value)


REFUSED: dict[str, tuple[str, Parts, str]] = {
    "a misspelt parameter": (
        f"{COLORIZE}?vividnes=1",
        [],
        "vividnes: unknown parameter; did you mean vividness?",
    ),
    "a capital": (f"{COLORIZE}?Format=jpeg", [], "did you mean format?"),
    "a parameter like none": (f"{COLORIZE}?zzz=1", [], "zzz: unknown parameter; the parameters "),
    "another endpoint's": (f"{CLASSIFY}?format=png", [], "format: unknown parameter"),
    "two at once": (f"{COLORIZE}?modle=x&fromat=png", [], "did you mean model?; fromat: "),
    "a misspelt field": (COLORIZE, [text("formt", "png")], "did you mean format?"),
    "a field of classify": (CLASSIFY, [text("model", "x")], "model: unknown parameter"),
    "a long name": (f"{COLORIZE}?{'x' * 5000}=1", [], "x…: unknown parameter"),
    "twice in the query": (f"{COLORIZE}?format=png&format=png", [], "format: it is given 2 times"),
    "twice in the form": (COLORIZE, [text("format", "png")] * 2, "format: it is given 2 times"),
    "in both": (
        f"{COLORIZE}?format=png",
        [text("format", "jpeg")],
        "format: it is given 2 times, in the query and in the form; give it once",
    ),
    "a bad value in the form": (COLORIZE, [text("vividness", "3")], "vividness: "),
    "no number": (f"{COLORIZE}?vividness=nan", [], "vividness: "),
    "an empty value": (f"{COLORIZE}?format=", [], "format: "),
    "page 0": (f"{CLASSIFY}?page=0", [], "page: "),
    "a class of a model that has none": (
        f"{COLORIZE}?model=general&class=people",
        [],
        "class: 'people' chooses among the models of model=assembled",
    ),
    "two photographs": (COLORIZE, [FILE], "file: the form has 2 photographs; send one"),
    "a file elsewhere": (CLASSIFY, [("mask", ("m.png", PHOTO))], "mask: it is a file"),
    "text as the photograph": (CLASSIFY, [text("file", "a.jpg")], "holds text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_ignored_is_refused_by_name(client: httpx.Client, name: str) -> None:
    path, parts, words = REFUSED[name]
    problem(client.post(path, files=[FILE, *parts]), 422, words)


def test_a_field_as_long_as_a_book_is_not_repeated(client: httpx.Client) -> None:
    answer = client.post(COLORIZE, files=[FILE, text("model", "x" * 100_000)])
    problem(answer, 400, "the form cannot be read")
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        (None, "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/jpeg", "jpeg"),
        ("image/jpg", "jpeg"),
        ("IMAGE/WebP", "webp"),
        ("image/webp, image/jpeg;q=0.9", "webp"),
        ("image/webp;q=0.2, image/jpeg;q=0.9, */*;q=0.1", "jpeg"),
        ("image/jpeg, image/png", "png"),
        ("image/webp, */*", "webp"),
        ("image/png;q=0, image/*", "jpeg"),
        ("application/json, text/plain, */*;q=0.1", "png"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "webp"),
        ("image/webp;q=none, image/jpeg", "jpeg"),
        ("application/json", None),
        ("image/png;q=0", None),
        ("image/gif", None),
        ("image/tiff", "tiff"),
        ("image/avif", "avif"),
    ],
)
def test_accept_chooses_the_format(
    client: httpx.Client, accept: str | None, format: str | None
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    request = client.build_request("POST", "/colorize", content=PHOTO, headers=headers)
    if accept is None:
        del request.headers["accept"]
    answer = client.send(request)
    if format is None:
        problem(answer, 406, "image/png, image/jpeg, image/webp")
    else:
        assert answer.headers["content-type"] == f"image/{format}"
        assert answer.headers["vary"] == "Accept"
    # The parameter is the client's last word.
    chosen = client.post("/colorize?format=webp", content=PHOTO, headers=headers)
    assert chosen.headers["content-type"] == "image/webp"


@pytest.mark.parametrize(("format", "longest"), [("webp", 16_383), ("jpeg", 65_500)])
def test_a_format_that_cannot_hold_a_picture_is_refused_before_it_is_coloured(
    client: httpx.Client, format: str, longest: int
) -> None:
    long = encoded(Image.new("L", (2, longest + 1), 90))
    query = {"class": "people", "format": format}
    painted = metric(client, 'stage_seconds_count{stage="paint"}')
    problem(client.post("/colorize", params=query, content=long), 422, "png holds more")
    assert metric(client, 'stage_seconds_count{stage="paint"}') == painted
    other = {"Accept": f"image/{format}, image/png;q=0.1"}
    answer = client.post("/colorize?class=people", content=long, headers=other)
    assert answer.headers["content-type"] == "image/png"
    fits = encoded(Image.new("L", (longest, 1), 90))
    assert client.post("/colorize", params=query, content=fits).status_code == 200


def test_a_page_is_chosen_by_its_number(client: httpx.Client) -> None:
    for endpoint in ("/colorize", "/classify"):
        problem(client.post(endpoint, content=SCAN), 422, "page: several pages (2 pages; page=N")
        problem(client.post(f"{endpoint}?page=3", content=SCAN), 422, "page: no such page")
        assert client.post(f"{endpoint}?page=1", content=SCAN).status_code == 200
    answer = client.post("/colorize", files=[("page", (None, "2")), ("file", SCAN)])
    with Image.open(io.BytesIO(answer.content)) as colored:
        assert colored.size == (20, 10)


def test_what_was_forgiven_stands_in_a_header(client: httpx.Client) -> None:
    for endpoint in ("/colorize", "/classify"):
        assert "x-colorgan-note" not in client.post(endpoint, content=PHOTO).headers
        note = client.post(endpoint, content=PHOTO[:-2]).headers["x-colorgan-note"]
        assert note.isascii() and "end" in note


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "JPEG 2000"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"8BPS\0\x01" + bytes(20), "PSD"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_a_format_that_is_known_and_not_read_is_named(
    client: httpx.Client, data: bytes, name: str
) -> None:
    problem(client.post("/classify", content=data), 415, name)
    problem(client.post("/colorize", files={"file": data}), 415, name)


READ, SENT = "GET, HEAD, OPTIONS", "POST, OPTIONS"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *((path, READ) for path in ("/", "/healthz", "/models", "/metrics", "/docs")),
        *((path, READ) for path in ("/openapi.json", "/page/app.js")),
        *((path, SENT) for path in ("/colorize", "/classify")),
        ("/nowhere", ""),
    ],
)
def test_every_address_says_what_it_takes(client: httpx.Client, path: str, allowed: str) -> None:
    head, options = client.head(path), client.options(path)
    assert not head.content
    if not allowed:
        assert {head.status_code, options.status_code, client.delete(path).status_code} == {404}
        return
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
    for method in ("DELETE", "PUT", "PATCH", *(["POST"] if allowed == READ else ["GET"])):
        answer = client.request(method, path)
        problem(answer, 405, "Not Allowed")
        assert answer.headers["allow"] == allowed
    if allowed == READ:
        get = client.get(path)
        assert head.status_code == get.status_code == 200
        assert head.headers["content-type"] == get.headers["content-type"]
        if path != "/metrics":
            assert head.headers["content-length"] == str(len(get.content))
    else:
        assert head.status_code == 405


@contextmanager
def upload(
    client: httpx.Client, sent: int, promised: int, form: bool = False
) -> Iterator[socket.socket]:
    """A photograph of which only so many bytes arrive."""
    kind = "multipart/form-data; boundary=B" if form else "image/jpeg"
    disposition = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = ((disposition if form else b"") + bytes(sent))[:sent]
    lines = ("POST /colorize HTTP/1.1", "Host: x", f"Content-Type: {kind}")
    head = "\r\n".join((*lines, f"Content-Length: {promised}", "", "")).encode()
    with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
        connection.sendall(head + body)
        yield connection


@pytest.mark.parametrize("form", [True, False])
def test_a_client_that_goes_away_in_its_upload_is_no_fault_of_the_server(
    client: httpx.Client, form: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gone, failed = metric(client, 'status="499"'), metric(client, 'status="500"')
    with caplog.at_level(logging.INFO):
        with upload(client, 500, 5000, form):
            wait_until(lambda: metric(client, "colorgan_upload_bytes") == 500)
        wait_until(lambda: metric(client, 'status="499"') == gone + 1)
    assert metric(client, 'status="500"') == failed
    assert metric(client, "colorgan_upload_bytes") == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_stalled_uploads_keep_nobody_out(client: httpx.Client) -> None:
    with ExitStack() as stalled:
        count = 2 * Limits().max_requests
        for number in range(count):
            stalled.enter_context(upload(client, 400, 5000, form=number % 2 == 0))
        wait_until(
            lambda: metric(client, "colorgan_upload_bytes") == 2 * Limits().max_requests * 400
        )
        assert client.post("/colorize", content=PHOTO).status_code == 200
        assert client.post("/classify", files=[FILE]).status_code == 200


@pytest.mark.parametrize("form", [True, False])
def test_a_body_that_does_not_arrive_in_time_is_said_to(backend: LocalBackend, form: bool) -> None:
    with (
        served(backend, upload_timeout_s=0.2) as client,
        upload(client, 400, 5000, form) as connection,
    ):
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # until it is closed
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
        assert b"did not arrive within 0.2 s" in answer
        assert metric(client, 'status="408"') == 1
        assert metric(client, "colorgan_upload_bytes") == 0


def test_what_arrives_at_once_is_bounded(backend: LocalBackend) -> None:
    photo = PHOTO + bytes(50_000 - len(PHOTO))
    with served(backend, max_requests=2, max_bytes=100_000) as client:
        with upload(client, 90_000, 95_000), upload(client, 90_000, 95_000):
            wait_until(lambda: metric(client, "colorgan_upload_bytes") == 180_000)
            answer = client.post("/classify", content=photo)
            problem(answer, 503, "too many photographs")
            assert answer.headers["retry-after"] == "1"
        wait_until(lambda: metric(client, "colorgan_upload_bytes") == 0)
        assert client.post("/classify", content=photo).status_code == 200


KEYS = ("schlüssel", "ключ", "鍵🔑", "secret")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_any_letters_is_wanted(
    client: httpx.Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, key)
    right, wrong = key.encode(), f"{key}!".encode()

    def status(name: str, value: bytes) -> int:
        return client.get("/models", headers={name.encode(): value}).status_code

    assert status("x-api-key", right) == status("authorization", b"Bearer " + right) == 200
    for value in (wrong, b"?", b"\xff\xfe", key.encode("ascii", "ignore") + b"x"):
        assert status("x-api-key", value) == status("authorization", b"Bearer " + value) == 401
    assert status("x-api-key", b"") == status("authorization", b"Bearer") == 401
    assert client.get("/models").status_code == 401
    if key == "schlüssel":  # as http.client and requests send it
        assert status("x-api-key", key.encode("latin-1")) == 200
