"""What an HTTP client of ours makes of TLS."""

import ssl


def verify(url: str) -> ssl.SSLContext | bool:
    """Return httpx's `verify` for a server: True, or, where it speaks plain HTTP, a context that trusts nobody.

    True reads every certificate there is, which takes 30 ms: too much for a probe, or where each test has clients.
    """
    return True if url.lower().startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
