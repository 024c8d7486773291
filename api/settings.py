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
    ServiceSettings,
)


class HttpSettings(BaseModel):
    """Where the service listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)


class UploadSettings(ImagePolicy):
    """What one upload request may hold; sizes are enforced while it streams in."""

    max_files: int = Field(default=100, ge=1)
    max_request_bytes: int = Field(default=500_000_000, ge=1)
    idle_timeout_s: float = Field(default=30, gt=0)
    """How long a request may send nothing before it is given up."""
    max_concurrent: int = Field(default=32, ge=1)
    """Uploads that one process takes in at the same time; more are answered 429."""
    max_backlog: int = Field(default=100_000, ge=1)
    """Images waiting or in work, in all; while there are more, uploads are answered 429."""


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
    log: LogSettings = LogSettings()
