"""Notices of the clouds' metadata services; test_machines.py drains a real machine on one."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from cluster.spot import aws_notice, gcp_notice


@pytest.fixture
def answers() -> Iterator[tuple[str, dict[str, str]]]:
    """A metadata service's address, and what it answers by path; 404 for all else."""
    texts: dict[str, str] = {"/latest/api/token": "t"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["X-aws-ec2-metadata-token"] == "t"
            known = known or self.headers["Metadata-Flavor"] == "Google" or self.command == "PUT"
            text = texts.get(self.path)
            self.send_response(401 if not known else 404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", texts
    server.shutdown()
    server.server_close()


def test_aws_says_when_the_machine_goes(answers: tuple[str, dict[str, str]]) -> None:
    address, texts = answers
    assert aws_notice(address) is None
    end = datetime.now(UTC) + timedelta(seconds=100)
    action = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    texts["/latest/meta-data/spot/instance-action"] = json.dumps(action)
    left = aws_notice(address)
    assert left is not None and 90 < left <= 100


def test_google_says_that_the_machine_goes(answers: tuple[str, dict[str, str]]) -> None:
    address, texts = answers
    texts["/computeMetadata/v1/instance/preempted"] = "FALSE"
    assert gcp_notice(address) is None
    texts["/computeMetadata/v1/instance/preempted"] = "TRUE"
    assert gcp_notice(address) == 30


def test_a_service_that_fails_is_no_notice(answers: tuple[str, dict[str, str]]) -> None:
    address, _ = answers
    with pytest.raises(requests.RequestException):
        gcp_notice(address)
