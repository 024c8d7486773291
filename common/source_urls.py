"""The URLs that images are imported from, held against what is allowed before anything is looked up; pure."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Self
from urllib.parse import unquote_to_bytes

import httpx

from common.errors import InvalidInput
from common.received import clean_filename

MAX_URL_CHARS: Final = 2048

_SCHEMES: Final = frozenset({"http", "https"})
_PORTS: Final = frozenset({80, 443, None})
"""None: that of the scheme."""
_MAX_HOST_CHARS = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A URL with an allowed scheme, host and port. What its host stands for is still to be looked up.

    Attributes:
        url: normalised, ASCII, without fragment.
        host: name in its ASCII form without a final dot, or a numeric address; IPv6 without brackets.
    """

    url: httpx.URL
    host: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises:
            InvalidInput: `invalid_url`; the message doesn't repeat the URL, which may hold secrets.
        """
        if len(text) > MAX_URL_CHARS:
            raise _invalid(f"it may have {MAX_URL_CHARS} characters")
        try:
            return cls._of(httpx.URL(text))
        except (httpx.InvalidURL, ValueError):  # UnicodeError too
            raise _invalid("it can't be understood") from None

    @classmethod
    def _of(cls, url: httpx.URL) -> Self:
        if url.scheme not in _SCHEMES:
            raise _invalid("its scheme must be http or https")
        if url.userinfo:
            raise _invalid("it must not have a user name or password")
        if url.port not in _PORTS:
            raise _invalid("its port must be 80 or 443")
        host = _check_host(url.raw_host.decode("ascii"))
        url = url.copy_with(fragment=None)
        if len(str(url)) > MAX_URL_CHARS:  # percent-encoding makes it longer
            raise _invalid(f"it may have {MAX_URL_CHARS} characters")
        return cls(url, host)

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.url.port is None else f"{host}:{self.url.port}"

    @property
    def filename(self) -> str:
        """The file name at the end of its path."""
        return clean_filename(unquote_to_bytes(self.url.path.rsplit("/", 1)[-1]))

    def at(self, address: str) -> httpx.URL:
        """The same URL with a numeric address instead of the host."""
        return self.url.copy_with(host=address)

    def join(self, location: str) -> "SourceUrl":
        """Follow a redirect; raises as `parse`."""
        try:
            return SourceUrl._of(self.url.join(location))
        except (httpx.InvalidURL, ValueError):
            raise _invalid("it can't be understood") from None


def _check_host(host: str) -> str:
    if ":" in host and "%" not in host:  # a zone would name an interface of ours
        return str(IPv6Address(host))
    host = host.removesuffix(".")
    if len(host) > _MAX_HOST_CHARS or not all(map(_LABEL.fullmatch, host.split("."))):
        raise _invalid("its host is neither a name nor an address")
    return host


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(f"the URL is not accepted: {why}", code="invalid_url")
