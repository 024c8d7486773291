"""What the judge and the traffic need of a running Likeness, however many processes it has."""

from typing import Protocol

import httpx


class Reach(Protocol):
    """How the stores are reached, past whatever tests break."""

    @property
    def database_url(self) -> str: ...
    @property
    def s3_endpoint(self) -> str: ...
    @property
    def s3_access_key(self) -> str: ...
    @property
    def s3_secret_key(self) -> str: ...
    @property
    def bucket(self) -> str: ...


class Judged(Protocol):
    """A system under test."""

    @property
    def stores(self) -> Reach: ...
    @property
    def vectors_url(self) -> str: ...
    @property
    def client(self) -> httpx.AsyncClient: ...
