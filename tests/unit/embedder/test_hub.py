"""The hub, played by small servers on this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from common.errors import ConfigurationError
from embedder import hub
from embedder.model import HubUnreachable

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"/some/model/resolve/main/second.bin": b"some weights"}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a download takes."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        content = FILES.get(self.path, b"" if self.path == "/" else None)
        self.send_response(404 if content is None else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", '"abcdef"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if with_body:
            self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Do what `HF_ENDPOINT` does; the library reads that once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def test_the_first_file_that_exists_is_downloaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as url:
        use_hub(monkeypatch, url)
        path = hub.fetch("some/model", ("first.bin", "second.bin"), 5)

    assert path.read_bytes() == b"some weights"
    assert path.parent.name == COMMIT
    assert hub.fetch("some/model", ("first.bin", "second.bin"), 5) == path  # the hub is gone by now


def test_a_repository_without_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as url:
        use_hub(monkeypatch, url)
        with pytest.raises(ConfigurationError, match=r"none of the files first\.bin, third\.bin"):
            hub.fetch("some/model", ("first.bin", "third.bin"), 5)


def test_a_hub_that_refuses_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    use_hub(monkeypatch, url)

    with pytest.raises(HubUnreachable, match=r"127\.0\.0\.1 does not answer"):
        hub.fetch("some/model", ("first.bin",), 5)


def test_a_hub_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")

        with pytest.raises(HubUnreachable, match="does not answer"):
            hub.fetch("some/model", ("first.bin",), 0.2)


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as url:
        use_hub(monkeypatch, url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
            hub.fetch("some/model", ("second.bin",), 5)
