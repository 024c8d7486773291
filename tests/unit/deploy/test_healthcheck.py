from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from deploy.docker import healthcheck
from deploy.local.ports import choose_ports


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()


def test_a_service_is_healthy_when_it_answers_200(port: str) -> None:
    assert healthcheck.main(port, "/health") == 0
    assert healthcheck.main(port, "/ready") == 1


def test_a_proxy_is_not_asked(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert healthcheck.main(port, "/health") == 0


def test_nobody_there_is_unhealthy() -> None:
    (free,) = choose_ports(1)
    assert healthcheck.main(str(free), "/health") == 1
