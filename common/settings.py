"""Settings groups shared by the services.

Each service composes the groups it needs into one `BaseSettings` class (`api/settings.py`, …), read once per process
from the environment: no prefix, `__` between levels, e.g. `DATABASE__URL`, `S3__ENDPOINT`.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SEARCHES_KEPT = timedelta(days=90)
"""How long a search is remembered, if nothing else is said."""


class ServiceSettings(BaseSettings):
    """Base of the services' settings: how they are read. An error does not quote what it refuses: it may be secret."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )


def _encoded(address: SecretStr) -> SecretStr:
    """Refuse a password as it is: what follows an `@` in it would be taken for the host, and named in errors."""
    if address.get_secret_value().count("@") > 1:
        raise ValueError("special characters in user name and password have to be percent-encoded")
    return address


Address = Annotated[SecretStr, AfterValidator(_encoded)]
"""A URL that may have a password in it."""


class DatabaseSettings(BaseModel):
    """PostgreSQL, the truth."""

    url: Address = SecretStr("postgresql+asyncpg://likeness@127.0.0.1:5432/likeness")
    pool_size: int = Field(default=10, ge=1)
    connect_timeout_s: float = Field(default=5, gt=0)
    """How long a transaction may take to get a connection that works, its wait for a free one included."""
    command_timeout_s: float = Field(default=15, gt=0)
    """How long a statement may take."""


class RedisSettings(BaseModel):
    """Redis: hints only; it may be wiped at any moment."""

    url: Address = SecretStr("redis://127.0.0.1:6379/0")


class S3Settings(BaseModel):
    """The object store: anything that speaks S3."""

    endpoint: str = "http://127.0.0.1:9000"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    bucket: str = "likeness"
    region: str = "us-east-1"
    max_connections: int = Field(default=16, ge=1)
    connect_timeout_s: float = Field(default=2, gt=0)
    read_timeout_s: float = Field(default=10, gt=0)
    """How long the server may be silent."""
    timeout_s: float = Field(default=20, gt=0)
    """How long a call may take in all, other tries included; of a streamed object, each chunk."""


class QdrantSettings(BaseModel):
    """The vector index: a Qdrant server by `url`, or Qdrant Edge in this process by `path`; one of the two."""

    url: str | None = None
    api_key: SecretStr | None = None
    path: Path | None = None
    timeout_s: float = Field(default=10, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.url is not None and self.path is not None:
            raise ValueError("set QDRANT__URL (a server) or QDRANT__PATH (embedded), not both")
        return self


class EmbedderClientSettings(BaseModel):
    """Where the embedder is, for those who call it."""

    url: str = "http://127.0.0.1:8100"
    """Its address, or those of several with the same models, separated by commas: calls are spread over them."""
    timeout_s: float = Field(default=60, gt=0)
    """How long a call may take in all, other addresses included."""

    @field_validator("url")
    @classmethod
    def _addresses(cls, url: str) -> str:
        for number, address in enumerate(split_addresses(url) or (url,), 1):
            if problem := _address_problem(address):
                raise ValueError(f"address {number}: {problem}, e.g. http://embedder-1:8100,http://embedder-2:8100")
        return url

    @property
    def urls(self) -> tuple[str, ...]:
        """Each address once, in the order given."""
        return split_addresses(self.url)


def split_addresses(text: str) -> tuple[str, ...]:
    """Return addresses that commas separate, each once; a slash at the end makes no other address."""
    return tuple(dict.fromkeys(part.strip().rstrip("/") for part in text.split(",") if part.strip()))


def _address_problem(address: str) -> str:
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is none
        known = False
    if not known:
        return "this is no http:// or https:// address of a server"
    return "a query or a fragment has no place here" if parts.query or parts.fragment else ""


class BreakerSettings(BaseModel):
    """When a dependency counts as down, and how soon it is asked again; see `common/breakers.py`."""

    failures: int = Field(default=5, ge=1)
    """Failures in a row that open a breaker."""
    pause_s: float = Field(default=2, gt=0)
    """How long an open breaker waits before it probes, and between two probes."""
    probe_timeout_s: float = Field(default=3, gt=0)


class LogSettings(BaseModel):
    """Log level, and lines for people (`console`) or machines (`json`); `auto` asks whether stderr is a terminal."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    format: str = Field(default="auto", pattern="^(auto|console|json)$")


class ImportSettings(BaseModel):
    """Import by URL (`IMPORT__…`; api and workers both read it). Off: it has workers send requests for strangers."""

    enabled: bool = False
    timeout_s: float = Field(default=30, gt=0, le=600)
    """How long a download may take in all: names, connections, redirects and the body."""
    concurrent: int = Field(default=4, ge=1, le=64)
    """Downloads of one worker at the same time."""


class SearchLogSettings(BaseModel):
    """What is remembered of what people search for (`SEARCH_LOG__…`; api and workers both read it)."""

    enabled: bool = True
    """Whether searches are written down. What was, is forgotten in its time all the same."""
    retention: timedelta = Field(default=SEARCHES_KEPT, gt=timedelta(0))
    """How long a search is remembered; as ISO 8601 has it, `P30D`."""
    text_chars: int = Field(default=200, ge=1, le=2_000)
    """How much of a text is kept."""


class ImagePolicy(BaseModel):
    """Which images are accepted. Pixels and sides are checked from the header, before anything is decoded."""

    max_file_bytes: int = Field(default=25_000_000, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1, le=178_000_000)
    max_side: int = Field(default=16_384, ge=1)
