"""Fetching from a real HTTP server on loopback that speaks the part of the hub's protocol that is used."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import assert_one_line_error, run_cli

NAME = "segface-mobilenet-celeb-512"
PATH = "/kartiknarayan/SegFace/resolve/main/mobilenet_celeba_512/model_299.pt"
PROGRESS = f"{NAME}.pt:"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.promised_sha256 = hashlib.sha256(content).hexdigest()
        self.cut_after: int | None = None
        self.tokens: list[str] = []
        self.requests: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, wanted = self.server, self.headers.get("Range")
        hub.requests.append((self.command, wanted))
        if self.path != PATH:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = hub.content, 0
        if self.headers.get("Authorization"):
            hub.tokens.append(self.headers["Authorization"])
        if wanted and wanted.endswith("-"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hub.promised_sha256}"')
        self.send_header("X-Linked-ETag", f'"{hub.promised_sha256}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content[start : hub.cut_after])
            if hub.cut_after is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub(os.urandom(300_000))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(hub: Hub | None, home: Path, *arguments: str) -> CompletedProcess[str]:
    endpoint = f"http://127.0.0.1:{hub.server_port}" if hub else "http://127.0.0.1:9"
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_secret",
        "EDGE_SEGFACE_HOME": str(home),
    }
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        environment.pop(name, None)
    return run_cli("fetch", NAME, *arguments, env=environment)


def test_download_is_checked_recorded_and_not_repeated(hub: Hub, tmp_path: Path) -> None:
    result = fetch(hub, tmp_path)
    assert result.returncode == 0, result.stderr
    target = tmp_path / f"{NAME}.pt"
    assert target.read_bytes() == hub.content
    assert result.stdout == f"{target}\nsha256 {hub.promised_sha256}, revision {COMMIT}\n"
    assert hub.tokens == []  # nobody's token is needed for a public file
    record = json.loads((tmp_path / f"{NAME}.json").read_text())
    assert (record["sha256"], record["revision"]) == (hub.promised_sha256, COMMIT)
    assert sorted(item.name for item in tmp_path.iterdir()) == [f"{NAME}.json", f"{NAME}.pt"]
    asked = len(hub.requests)
    assert fetch(hub, tmp_path).returncode == 0
    assert len(hub.requests) == asked
    target.write_bytes(hub.content[:-1])
    assert_one_line_error(fetch(hub, tmp_path), "does not have the sha256", hub.promised_sha256, "delete it")


def test_a_download_cut_off_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.content = os.urandom(24_000_000)  # the hub's client hands over ten megabytes at a time
    hub.promised_sha256 = hashlib.sha256(hub.content).hexdigest()
    hub.cut_after = 12_000_000
    first = fetch(hub, tmp_path)
    assert first.returncode == 1
    assert "error: mobilenet_celeba_512/model_299.pt of kartiknarayan/SegFace could not be downloaded" in first.stderr
    assert "run the same command again to resume" in first.stderr
    assert "Traceback" not in first.stderr
    assert [item.suffix for item in tmp_path.iterdir()] == [".part"]
    hub.cut_after = None
    hub.requests.clear()
    second = fetch(hub, tmp_path)
    assert second.returncode == 0, second.stderr
    assert (tmp_path / f"{NAME}.pt").read_bytes() == hub.content
    starts = [
        int(wanted.removeprefix("bytes=").rstrip("-")) for verb, wanted in hub.requests if verb == "GET" and wanted
    ]
    assert starts
    assert min(starts) > 0


def test_what_is_not_what_was_promised_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    assert_one_line_error(fetch(hub, tmp_path, "--sha256", "0" * 64), "does not have the sha256 000", beside=PROGRESS)
    assert_one_line_error(fetch(hub, tmp_path, "--sha256", "abc"), "64 hexadecimal digits")
    assert fetch(hub, tmp_path / "upper", "--sha256", hub.promised_sha256.upper()).returncode == 0
    hub.promised_sha256 = "f" * 64
    assert_one_line_error(fetch(hub, tmp_path), "does not have the sha256 fff", beside=PROGRESS)
    assert not (tmp_path / f"{NAME}.pt").exists()


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    result = fetch(None, tmp_path)
    target = tmp_path / f"{NAME}.pt"
    assert_one_line_error(result, "by hand", "mobilenet_celeba_512/model_299.pt", f"save it as {target}")
    target.write_bytes(b"put here by hand")
    by_hand = fetch(None, tmp_path)
    assert by_hand.returncode == 0, by_hand.stderr
    assert "revision by hand" in by_hand.stdout


def test_names_that_are_not_known(tmp_path: Path) -> None:
    assert_one_line_error(run_cli("fetch", "segface-swin"), "unknown weights", NAME)
    environment = {**os.environ, "EDGE_SEGFACE_HOME": str(tmp_path)}
    result = run_cli("export", NAME, "--out", tmp_path / "x.onnx", env=environment)
    assert_one_line_error(result, f"edge-segface fetch {NAME}")
