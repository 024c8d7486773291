"""The line to a server: its name, its port, and its certificate where it speaks TLS."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from worker.doctor.examination import Findings
from worker.doctor.findings import Finding, failed, is_failure, ok, warning

REACHABLE = "reachable"
CERTIFICATE = "certificate"

_EXPIRES_SOON_DAYS = 14
_DAY_S = 86_400


def show_url(url: str) -> str:
    """Return an address without what may be secret in it: user name, password, path and query."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # what stands there is no number, and may be a part of a password
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


async def examine_url(
    url: str, setting: str, trusted: Callable[[], ssl.SSLContext] = ssl.create_default_context
) -> Findings:
    """Examine the line to an HTTP server; the last finding is a failure if there is no use in going on.

    Args:
        url: its address.
        setting: the variable that has it.
        trusted: makes what its client trusts, for `https`.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if parts.scheme not in {"http", "https"} or host is None:
        yield failed(REACHABLE, f"{setting} is no address", f"{setting} should read http://host:port")
        return
    reached = await reach(host, port, setting)
    yield reached
    if parts.scheme == "https" and not is_failure(reached):
        yield await examine_certificate(host, port, setting, trusted())


async def reach(host: str, port: int, setting: str) -> Finding:
    """Look the host up and connect to the port."""
    where = f"{host}:{port}"
    try:
        _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        return failed(
            REACHABLE,
            f"the name {host} can't be looked up: {error.strerror}",
            f"Correct the host in {setting}, or the name service: `getent hosts {host}` should answer. "
            "A container's name is known only while it runs.",
        )
    except OSError as error:
        return failed(
            REACHABLE,
            f"no connection to {where}: {_say(error)}",
            f"Start the server, or correct {setting}: nothing listens there for this machine.",
        )
    writer.transport.abort()
    return ok(REACHABLE, f"{where} takes connections")


async def examine_certificate(host: str, port: int, setting: str, trusted: ssl.SSLContext) -> Finding:
    """Check a server's certificate: whom it is for, who says so, and until when."""
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=trusted)
    except ssl.SSLCertVerificationError as error:
        return failed(
            CERTIFICATE,
            f"the certificate is refused: {error.verify_message}",
            f"`openssl s_client -connect {host}:{port} -servername {host}` shows it. Renew it, or name the host in "
            f"{setting} as the certificate does; an authority of your own has to be trusted on this machine.",
        )
    except (ssl.SSLError, OSError) as error:
        return failed(
            CERTIFICATE,
            f"no TLS with {host}:{port}: {_say(error)}",
            f"Turn TLS on in the server, or say http:// in {setting}.",
        )
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return judge_expiry(ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time(), host)


def judge_expiry(left_s: float, host: str) -> Finding:
    """Judge by how long a certificate is still good."""
    days = int(left_s // _DAY_S)
    seen = f"good for {days} more days"
    if days >= _EXPIRES_SOON_DAYS:
        return ok(CERTIFICATE, seen)
    return warning(CERTIFICATE, seen, f"Renew the certificate of {host} now; after that nothing connects any more.")


def _say(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
