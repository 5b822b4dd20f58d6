"""Names, addresses and redirects: where a fetcher connects to, and what it says of itself."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colorgan import __version__
from colorgan.data.fetching import is_public
from colorgan.errors import ColorganError, ImageRejected
from tests.data.fetching.clients import PUBLIC, Names, fetcher, get, reason, rejection, self_signed
from tests.web_server import (
    BadWeb,
    bad_web,
    closed,
    late,
    ok,
    redirect,
    silent,
)

# Names, addresses, redirects


@pytest.mark.parametrize(
    "url",
    [
        "",
        "photo.jpg",
        "//photos.example/a.jpg",
        "http://",
        "http:///a.jpg",
        "http://[::bad/",
        "http://photos.example:99999/",
        "http://photos..example/",
        f"http://{'x' * 70}.example/",
        "ftp://photos.example/a.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert reason(url) == "bad address"


def test_an_address_is_encoded_as_browsers_do(web: BadWeb) -> None:
    web.add("/%C3%BCber%20uns/100%25%2F1.jpg?a=%C3%A4", ok(b"photograph"))
    assert get(web.at("127.0.0.1", "/über uns/100%25%2F1.jpg?a=ä") + " \r\n") == b"photograph"


def test_a_name_that_does_not_exist_is_looked_up_once() -> None:
    names = Names({"no.example": socket.gaierror(socket.EAI_NONAME, "unknown")})
    assert rejection("http://no.example/", names) == ("no such host", "no.example")
    assert names.asked["no.example"] == 1


def test_a_name_that_cannot_be_looked_up_now_is_looked_up_again() -> None:
    names = Names({"no.example": socket.gaierror(socket.EAI_AGAIN, "try again")})
    assert rejection("http://no.example/", names, retries=2)[0] == "no such host"
    assert names.asked["no.example"] == 3


def test_a_certificate_that_proves_nothing_is_refused(tmp_path: Path) -> None:
    with bad_web({"/": ok()}, tls=self_signed("photos.example", tmp_path)) as web:
        names = Names({"photos.example": [["127.0.0.1"]]})
        url = web.at("photos.example", "/")
        assert rejection(url, names) == ("certificate", "self-signed certificate")
        assert not web.requests


def test_a_server_that_does_not_speak_tls_is_a_fault_of_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        waiting = pool.submit(rejection, url, retries=0)
        with server.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert waiting.result() == ("connection", "the TLS handshake failed")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(web: BadWeb, code: int) -> None:
    web.add("/new/b%20c.jpg", ok(b"photograph"))
    assert get(web.add("/old/a.jpg", redirect("../new/b c.jpg", code))) == b"photograph"


def test_redirects_are_counted(web: BadWeb) -> None:
    for hop in range(3):
        web.add(f"/{hop}", redirect(f"/{hop + 1}"))
    url = web.at("127.0.0.1", "/0")
    web.add("/3", ok(b"photograph"))
    assert get(url, max_redirects=3) == b"photograph"
    assert rejection(url, max_redirects=2) == ("too many redirects", "more than 2")
    assert reason(web.add("/loop", redirect("/loop"))) == "too many redirects"
    assert web.requests["/loop"] == 6


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://photos.example/", "http://[::bad/"])
def test_a_redirect_leads_nowhere_but_to_the_web(web: BadWeb, to: str) -> None:
    assert reason(web.add("/", redirect(to))) == "bad address"


# Addresses that must not be connected to


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "4000::1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "",
    ],
)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "100.128.0.1",
        "2606:4700::6810:84e5",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::",
    ],
)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
    ],
)
def test_no_spelling_of_loopback_is_connected_to(web: BadWeb, host: str) -> None:
    url = web.at(host, "/")
    web.add("/", ok(b"secret"))
    assert reason(url, allow_private=False) == "refused address"
    if host != "[::1]":
        assert get(url) == b"secret"
        assert web.requests["/"] == 1


def test_a_name_of_a_private_address_is_refused_and_not_tried_again(web: BadWeb) -> None:
    names = Names({"photos.example": [["127.0.0.1", "::1"]]})
    url = web.at("photos.example", "/")
    assert rejection(url, names, allow_private=False) == (
        "refused address",
        "photos.example is at 127.0.0.1, which is not public",
    )
    assert names.asked["photos.example"] == 1
    assert not web.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "in.example"])
def test_a_redirect_to_a_private_address_is_refused(
    web: BadWeb, public_web: BadWeb, host: str
) -> None:
    names = Names({"photos.example": [[PUBLIC]], "in.example": [["127.0.0.1"]]})
    public_web.add("/", redirect(web.at(host, "/secret")))
    url = public_web.at("photos.example", "/")
    assert reason(url, names, allow_private=False) == "refused address"
    assert public_web.requests["/"] == 1
    assert not web.requests


def test_a_name_that_moves_inside_between_two_requests_is_refused(
    web: BadWeb, public_web: BadWeb
) -> None:
    names = Names({"photos.example": [[PUBLIC], ["127.0.0.1"]]})
    public_web.add("/", redirect(web.at("photos.example", "/secret")))
    url = public_web.at("photos.example", "/")
    assert reason(url, names, allow_private=False) == "refused address"
    assert names.asked["photos.example"] == 2
    assert not web.requests


@pytest.mark.parametrize("addresses", [["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"]])
def test_of_a_names_addresses_only_the_public_ones_are_used(
    public_web: BadWeb, addresses: list[str]
) -> None:
    public_web.add("/", late(0.3, ok(b"photograph")))  # longer than aiohttp waits for one address
    names = Names({"photos.example": [addresses]})
    with socket.create_server(("127.0.0.1", public_web.port)) as private:
        url = public_web.at("photos.example", "/")
        assert get(url, names, allow_private=False) == b"photograph"
        private.setblocking(False)
        with pytest.raises(BlockingIOError):
            private.accept()


def test_a_download_of_a_file_is_refused_a_private_address_too(web: BadWeb, tmp_path: Path) -> None:
    with (
        fetcher(allow_private=False) as fetch,
        pytest.raises(ColorganError, match="refused address"),
    ):
        fetch.download(web.add("/", ok(b"secret")), tmp_path / "file")
    assert not web.requests


# What is said of the one who asks


def test_a_request_says_who_asks_and_for_what(web: BadWeb) -> None:
    get(web.add("/a.jpg", ok()))
    assert web.headers["/a.jpg"]["user-agent"] == f"colorgan/{__version__}"
    assert web.headers["/a.jpg"]["accept"] == "image/*"


def test_cookies_are_not_kept_and_proxies_are_not_taken_from_the_environment(
    web: BadWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.add("/", ok(b"photograph", **{"Set-Cookie": "a=b"}))
    names = Names({"photos.example": [["127.0.0.1"]]})
    with fetcher(names) as fetch:
        for _ in range(2):
            assert fetch.get(web.at("photos.example", "/")) == b"photograph"
    assert "cookie" not in web.headers["/"]


def test_a_password_goes_to_its_own_host_alone(web: BadWeb) -> None:
    names = Names({name: [["127.0.0.1"]] for name in ("photos.example", "other.example")})
    web.add("/a", redirect("/b"))
    web.add("/b", redirect(web.at("other.example", "/c")))
    web.add("/c", ok())
    get(web.at("user:s3cret@photos.example", "/a"), names)
    assert "authorization" in web.headers["/a"]
    assert "authorization" not in web.headers["/c"]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@127.0.0.1:{port}/404",
        "http://user:s3cret@127.0.0.1:{port}/loop",
        "http://user:s3cret@127.0.0.1:{port}/closed",
        "http://user:s3cret@127.0.0.1:{port}/silent",
        "http://user:s3cret@127.0.0.1:{port}/file",
        "http://user:s3cret@127.0.0.1:1/",
        "https://user:s3cret@127.0.0.1:{port}/",
        "http://user:s3cret@photos..example/",
        "http://user:s3cret@photos.example:99999/",
        "http://user:s3cret@[::bad/",
        "http://user:s3/cret@photos.example/",
        "ftp://user:s3cret@photos.example/",
        "user:s3cret@photos.example/",
    ],
)
def test_a_password_is_never_shown(web: BadWeb, url: str, tmp_path: Path) -> None:
    web.add("/loop", redirect("/loop"))
    web.add("/closed", closed())
    web.add("/silent", silent())
    web.add("/file", redirect("file://user:s3cret@/etc/passwd"))
    url = url.format(port=web.port)
    with fetcher(timeout_s=0.2, retries=0) as fetch:
        with pytest.raises(ImageRejected) as caught:
            fetch.get(url)
        with pytest.raises(ColorganError) as caught_too:
            fetch.download(url, tmp_path / "file")
    for text in (str(caught.value), str(caught_too.value)):
        assert "s3" not in text
        assert "cret" not in text
