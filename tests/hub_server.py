"""A Hugging Face Hub of the tests' own: the routes that huggingface_hub calls, in memory."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Hub:
    """A running Hub.

    Attributes:
        endpoint: its address.
        repositories: by `owner/name`, the commits in order, each with all files.
        blobs: large files that were uploaded, by SHA-256.
        fetched: the paths of the files that were downloaded.
        private: the repositories that were created as private.
    """

    endpoint: str = ""
    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    private: set[str] = field(default_factory=set)

    def variables(self, cache: object) -> dict[str, str]:
        """The environment with which a process uses this Hub."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache),
            "HF_TOKEN": "hf_ofatest",
            # The protocol for large files that a Hub without Xet speaks.
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def head(self, repository: str) -> Files:
        """The files of the last commit."""
        return [*self.repositories[repository].values()][-1]

    def commit(self, repository: str, files: Files) -> str:
        """Add a commit with these files; returns its name."""
        commits = self.repositories.setdefault(repository, {})
        digest = hashlib.sha1(repr((len(commits), sorted(files))).encode()).hexdigest()
        commits[digest] = files
        return digest

    def find(self, repository: str, revision: str) -> tuple[str, Files] | str:
        """A revision's commit and files, or the code of the Hub's error."""
        commits = self.repositories.get(repository)
        if commits is None:
            return "RepoNotFound"
        name = [*commits][-1] if revision == "main" else revision
        return (name, commits[name]) if name in commits else "RevisionNotFound"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def answer(self, body: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    @property
    def route(self) -> str:
        return unquote(urlsplit(self.path).path)

    def do_PUT(self) -> None:
        data = self.body()
        self.hub.blobs[self.route.rpartition("/")[2]] = data
        self.answer(b"")

    def do_POST(self) -> None:
        data = self.body()
        if self.route.startswith("/api/validate-yaml"):
            self.answer({})
        elif self.route == "/api/repos/create":
            wanted = json.loads(data)
            name = f"{wanted['organization']}/{wanted['name']}"
            if name not in self.hub.repositories:
                self.hub.commit(name, {".gitattributes": b""})
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.hub.private.add(name)
            self.answer({"url": f"{self.hub.endpoint}/{name}"})
        elif "/preupload/" in self.route:
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(data)["files"]
            ]
            self.answer({"files": files})
        elif self.route.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    **each,
                    "actions": {"upload": {"href": f"{self.hub.endpoint}/lfs/{each['oid']}"}},
                }
                for each in json.loads(data)["objects"]
            ]
            self.answer({"objects": objects, "transfer": "basic"})
        elif found := re.fullmatch(r"/api/models/(.+?/.+?)/commit/main", self.route):
            self._commit(found[1], data)
        else:
            self.answer({}, 404)

    def _commit(self, repository: str, data: bytes) -> None:
        files = dict(self.hub.head(repository))
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        name = self.hub.commit(repository, files)
        url = f"{self.hub.endpoint}/{repository}/commit/{name}"
        self.answer({"commitUrl": url, "commitOid": name})

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.route):
            known = self.hub.find(found[1], found[2] or "main")
            if isinstance(known, str):
                return self.answer({}, 404, {"X-Error-Code": known})
            siblings = [{"rfilename": path} for path in known[1]]
            return self.answer({"id": found[1], "sha": known[0], "siblings": siblings, "tags": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.route):
            known = self.hub.find(found[1], found[2])
            if isinstance(known, str):
                return self.answer({}, 404, {"X-Error-Code": known})
            return self.answer([_described(*file) for file in known[1].items()])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.route):
            known = self.hub.find(found[1], found[2])
            if isinstance(known, str):
                return self.answer({}, 404, {"X-Error-Code": known})
            data = known[1].get(found[3])
            if data is None:
                return self.answer({}, 404, {"X-Error-Code": "EntryNotFound"})
            self.hub.fetched.append(found[3])
            tag = hashlib.sha256(data).hexdigest()
            return self.answer(data, headers={"ETag": f'"{tag}"', "X-Repo-Commit": known[0]})
        return self.answer({}, 404)

    do_HEAD = do_GET  # noqa: N815


def _described(path: str, data: bytes) -> dict[str, Any]:
    return {
        "type": "file",
        "path": path,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
    }


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub on loopback, without repositories."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
