"""Settings groups shared by the services.

Each service composes the groups it needs into one `ServiceSettings` class (`api/settings.py`, …), read once per process
from the environment (no prefix, `__` between levels, e.g. `DATABASE__URL`, `S3__ENDPOINT`), a `.env` file and a YAML
file; see `common/settings_sources.py`. Each setting has a docstring: `docs/configuration.md` is made of them.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from common.settings_problems import explain, invalid
from common.settings_sources import Reading, create_sources

SEARCHES_KEPT = timedelta(days=90)
"""How long a search is remembered, if nothing else is said."""


_READING: Final = "(reading)"
"""The key, that of no setting, under which the sources hand over what came up."""


class ServiceSettings(BaseSettings):
    """Base of the services' settings. To make one is to read it from all places.

    Raises:
        SettingsInvalid: with all that is wrong, at once. It does not quote values: they may be secret.
    """

    model_config = SettingsConfigDict(
        env_nested_delimiter="__", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    _places: dict[tuple[str, str], str] = PrivateAttr(default_factory=dict)

    @property
    def places(self) -> Mapping[tuple[str, str], str]:
        """Return what the place is called that a setting was found in, by group and key; defaults are from none."""
        return self._places

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours is stricter
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - it knows no groups
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return our own sources, after what the caller gives."""
        reading = Reading()
        handed_over = InitSettingsSource(settings_cls, {_READING: reading})
        return init_settings, *create_sources(settings_cls, reading), handed_over

    @model_validator(mode="wrap")
    @classmethod
    def _tell_all(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        reading: Reading = given.pop(_READING)
        problems = reading.problems
        try:
            settings = validate(given)
        except ValidationError as error:
            problems += explain(error, cls, reading)
        if problems:
            raise invalid(problems)
        settings._places = reading.places  # noqa: SLF001 - its own
        return settings


def _secret_address(example: str, *schemes: str) -> AfterValidator:
    """Refuse what is no address, without a word of it: it may have a password in it.

    A password as it is counts as none, as what follows an `@` in it would be taken for the host, and named in errors.
    """

    def check(address: SecretStr) -> SecretStr:
        text = address.get_secret_value()
        if text.count("@") > 1:
            raise ValueError("special characters in user name and password have to be percent-encoded")
        if not _is_address(text, schemes):
            raise ValueError(f"this is no address, which reads {example}")
        return address

    return AfterValidator(check)


def _is_address(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        known = parts.scheme in schemes and parts.port != 0
    except ValueError:  # of a port that is none
        known = False
    return known


DatabaseAddress = Annotated[
    SecretStr, _secret_address("postgresql+asyncpg://user:password@host:port/name", "postgresql+asyncpg")
]
RedisAddress = Annotated[
    SecretStr, _secret_address("redis://user:password@host:port/database", "redis", "rediss", "unix")
]


def _http(address: str) -> str:
    if problem := _address_problem(address):
        raise ValueError(problem)
    return address


class DatabaseSettings(BaseModel):
    """PostgreSQL, the truth."""

    url: DatabaseAddress = SecretStr("postgresql+asyncpg://likeness@127.0.0.1:5432/likeness")
    """The database, as `postgresql+asyncpg://user:password@host:port/name`; special characters percent-encoded."""
    pool_size: int = Field(default=10, ge=1)
    """Most connections that one process keeps open. In one that searches, up to a quarter of them do nothing else."""
    connect_timeout_s: float = Field(default=5, gt=0)
    """How long a transaction may take to get a connection that works, its wait for a free one included."""
    command_timeout_s: float = Field(default=15, gt=0)
    """How long a statement may take."""


class RedisSettings(BaseModel):
    """Redis: hints only; it may be wiped at any moment."""

    url: RedisAddress = SecretStr("redis://127.0.0.1:6379/0")
    """The server, as `redis://user:password@host:port/database`; special characters percent-encoded."""


class S3Settings(BaseModel):
    """The object store: anything that speaks S3."""

    endpoint: Annotated[str, AfterValidator(_http)] = "http://127.0.0.1:9000"
    """The store's address, `http://…` or `https://…`."""
    access_key: str = ""
    """The name of the key that requests are signed with."""
    secret_key: SecretStr = SecretStr("")
    """The key that requests are signed with."""
    bucket: str = "likeness"
    """Where the images are kept; made at the start, if it is missing."""
    region: str = "us-east-1"
    """The bucket's region."""
    max_connections: int = Field(default=16, ge=1)
    """Most connections that one process keeps open."""
    connect_timeout_s: float = Field(default=2, gt=0)
    """How long connecting may take."""
    read_timeout_s: float = Field(default=10, gt=0)
    """How long the server may be silent."""
    timeout_s: float = Field(default=20, gt=0)
    """How long a call may take in all, other tries included; of a streamed object, each chunk."""


class QdrantSettings(BaseModel):
    """The vector index: a Qdrant server by `url`, or Qdrant Edge in this process by `path`; one of the two."""

    url: Annotated[str, AfterValidator(_http)] | None = None
    """A Qdrant server's address, `http://…` or `https://…`."""
    api_key: SecretStr | None = None
    """The server's API key."""
    path: Path | None = None
    """The folder of an embedded index. One process alone can open it."""
    timeout_s: float = Field(default=10, gt=0)
    """How long a call may take."""

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
    """How long a probe may take."""


class LogSettings(BaseModel):
    """Log level, and lines for people (`console`) or machines (`json`); `auto` asks whether stderr is a terminal."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""
    format: Literal["auto", "console", "json"] = "auto"
    """Lines for people (`console`) or for machines (`json`)."""


class TracingSettings(BaseModel):
    """OpenTelemetry traces (`TRACING__…`; of all services, and best the same for all)."""

    exporter: Literal["none", "otlp", "console"] = "none"
    """Where spans go: nowhere, to a collector by OTLP over HTTP, or to stderr, a line each."""
    endpoint: str = Field(default="http://127.0.0.1:4318/v1/traces", pattern=r"^https?://[^@\s]+$")
    """The collector. What it wants for a password goes into `OTEL_EXPORTER_OTLP_HEADERS`."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces that is recorded."""


class ImportSettings(BaseModel):
    """Import by URL (`IMPORT__…`; api and workers both read it). Off: it has workers send requests for strangers."""

    enabled: bool = False
    """Whether images may be imported by URL; api and workers have to agree."""
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
    """Largest file."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=178_000_000)
    """Most pixels, width times height."""
    max_side: int = Field(default=16_384, ge=1)
    """Longest side, in pixels."""
