"""Settings of the api service."""

from pydantic import BaseModel, Field

from common.attributes import SearchSettings
from common.settings import (
    BreakerSettings,
    DatabaseSettings,
    EmbedderClientSettings,
    ImagePolicy,
    ImportSettings,
    LogSettings,
    QdrantSettings,
    RedisSettings,
    S3Settings,
    SearchLogSettings,
    ServiceSettings,
)


class HttpSettings(BaseModel):
    """Where the service listens."""

    host: str = "127.0.0.1"
    """The address that the service listens on; `0.0.0.0` for all."""
    port: int = Field(default=8000, ge=1, le=65_535)
    """The port that the service listens on."""


class UploadSettings(ImagePolicy):
    """What one upload request may hold; sizes are enforced while it streams in."""

    max_files: int = Field(default=100, ge=1)
    """Most files of one request."""
    max_request_bytes: int = Field(default=500_000_000, ge=1)
    """Most bytes of one request, all files together."""
    idle_timeout_s: float = Field(default=30, gt=0)
    """How long a request may send nothing before it is given up."""
    max_concurrent: int = Field(default=32, ge=1)
    """Uploads that one process takes in at the same time; more are answered 429."""
    max_backlog: int = Field(default=100_000, ge=1)
    """Images waiting or in work, in all; while there are more, uploads are answered 429."""


class CacheSettings(BaseModel):
    """What is remembered of searches. Nothing of it is needed: all of it off, or Redis away, searches are slower."""

    vectors: int = Field(default=2_000, ge=0)
    """Vectors of texts and query pictures that each process keeps in memory; 0: none."""
    shared_vectors: int = Field(default=20_000, ge=0)
    """Most vectors kept in Redis, for all processes; 0: none. One takes its dimensions times 4 bytes, and some 150."""
    shared_ttl_s: int = Field(default=86_400, ge=1)
    """How long Redis keeps a vector."""
    timeout_s: float = Field(default=0.05, gt=0)
    """How long a search may wait for Redis."""
    candidates_s: float = Field(default=0, ge=0, le=60)
    """How long the vector index's answer stands for the same search; 0: it is asked each time.

    For as long, images that are new or edited may be missing, or found by what they were. Deleted ones are never shown.
    """
    candidates: int = Field(default=1_000, ge=1)
    """Most answers of the vector index that each process keeps."""


class ApiSettings(ServiceSettings):
    """Everything the api service reads from its environment."""

    http: HttpSettings = HttpSettings()
    upload: UploadSettings = UploadSettings()
    imports: ImportSettings = Field(default=ImportSettings(), alias="import")
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    s3: S3Settings = S3Settings()
    qdrant: QdrantSettings = QdrantSettings()
    embedder: EmbedderClientSettings = EmbedderClientSettings()
    breakers: BreakerSettings = BreakerSettings()
    search: SearchSettings = SearchSettings()
    cache: CacheSettings = CacheSettings()
    search_log: SearchLogSettings = SearchLogSettings()
    log: LogSettings = LogSettings()
