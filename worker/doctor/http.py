"""The line to servers that the services talk to by httpx, and the doctor's own client of these."""

import ssl

import httpx

from common.tls import verify
from worker.doctor.examination import Findings
from worker.doctor.line import examine_url
from worker.doctor.settings import Limits


def open_client(url: str, limits: Limits, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Return a client of one server, which trusts whom the services' clients trust."""
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=limits.timeout_s, verify=verify(url), trust_env=False
    )


def examine_line(url: str, setting: str) -> Findings:
    """Examine the line to such a server, as `examine_url`."""
    return examine_url(url, setting, _trusted)


def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
