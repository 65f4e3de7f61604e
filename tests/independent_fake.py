"""A stand-in for the service that shares no code with the sandbox: written from the vendor's guide alone, on http.server.

It answers as the guide's script expects (COMPLETE, dubbedVideos, locale, downloadUrl), keeps every request with its body, and
lets uploads go to a real S3 server. So a misunderstanding of ours has to be made twice to stay unseen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

API_KEY = "independent-key"

GrantUpload = Callable[[str], dict[str, str]]
"""Upload credentials for a key, in the API's words, but for the key itself."""


class IndependentFake:
    """Projects and what was asked. `polls_until_complete`: GETs of a project before its languages are complete, one more
    each."""

    def __init__(self, grant: GrantUpload, *, polls: int = 2, size: int = 100_000) -> None:
        self.grant = grant
        self.polls_until_complete = polls
        self.output_bytes = size
        self.url = ""
        self.requests: list[tuple[str, str, Any]] = []
        self.assets: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.request_arrived = 0
        self.on_request: Callable[[int], None] = lambda number: None
        """Called with the number of each request, files included, before it is looked at."""

    def wait_for_request(self) -> None:
        with self.lock:
            self.request_arrived += 1
            self.on_request(self.request_arrived)

    def count_requests(self, method: str, path: str) -> int:
        return sum(1 for asked, where, _ in self.requests if asked == method and where.startswith(path))

    def content(self, project: str, language: str, ending: str) -> bytes:
        """What an output holds: the same at every call, different for every output."""
        seed = hashlib.sha256(f"{project} {language} {ending}".encode()).digest()
        return seed * (self.output_bytes // len(seed) if ending == "mp4" else 20)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: IndependentFake

    def do_POST(self) -> None:
        self._take()

    def do_GET(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = json.loads(body) if body else None
        self.service.wait_for_request()
        if self.path.startswith("/files/"):
            with contextlib.suppress(ConnectionError):  # the test killed the client
                self._file()
            return
        with self.service.lock, contextlib.suppress(ConnectionError):
            self.service.requests.append((self.command, self.path, data))
            if self.headers.get("Authorization") != API_KEY:
                self._answer(401, {"error": "Unauthorized"})
            else:
                self._route(data)

    def _route(self, data: Any) -> None:
        kind, name = [*self.path.split("/")[2:], ""][:2]
        match self.command, kind:
            case "POST", "assets":
                self._new_asset(data)
            case "GET", "assets":
                known = name in self.service.assets
                asset = {"id": name, "status": "ready", "metadata": {"detectedLanguage": "en"}}
                self._answer(200 if known else 404, asset if known else {"error": "Not found"})
            case "POST", "dubbing":
                self._new_project(data)
            case "GET", "dubbing":
                self._project(name)
            case _:
                self._answer(404, {"error": "Not found"})

    def _new_asset(self, data: Any) -> None:
        name = str(uuid.uuid4())
        key = f"dubbing/{name}"
        self.service.assets[name] = {"key": key, "asked": data}
        credentials = self.service.grant(key) | {"key": key}
        self._answer(201, {"id": name, "uploadUrl": None, "uploadCredentials": credentials})

    def _new_project(self, data: Any) -> None:
        name = str(uuid.uuid4())
        self.service.projects[name] = {"asked": data, "polls": 0}
        self._answer(202, {"createdImportedAsset": {"id": name}})

    def _project(self, name: str) -> None:
        project = self.service.projects.get(name)
        if project is None:
            self._answer(404, {"error": "Not found"})
            return
        project["polls"] += 1
        ready = max(0, project["polls"] - self.service.polls_until_complete)
        languages = project["asked"]["targetLanguages"]
        entries = []
        for number, language in enumerate(languages):
            entry = {"locale": language}
            if number < ready:
                base = f"{self.service.url}/files/{name}/{language}"
                captions = {"srt": f"{base}.srt?sig=1", "vtt": f"{base}.vtt?sig=1"}
                entry |= {"downloadUrl": f"{base}.mp4?sig=1", "captions": captions}
            entries.append(entry)
        status = "COMPLETE" if ready >= len(languages) else "IN_PROGRESS"
        self._answer(200, {"status": status, "dubbedVideos": entries})

    def _file(self) -> None:
        assert "Authorization" not in self.headers, "the key leaked to a signed address"
        project, name = self.path.removeprefix("/files/").partition("?")[0].split("/")
        language, _, ending = name.rpartition(".")
        content = self.service.content(project, language, ending)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextmanager
def serve_fake(service: IndependentFake) -> Iterator[IndependentFake]:
    """Serve on a free port of this machine."""
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
