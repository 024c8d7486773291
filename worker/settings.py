"""Settings of the worker service."""

from datetime import time, timedelta

from pydantic import BaseModel, Field

from common.attributes import SearchSettings
from common.db import quarantine
from common.db.attempts import LEASE
from common.duplicates import DuplicateSettings
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
    TracingSettings,
)


class PipelineSettings(BaseModel):
    """How much one worker does at once, and how it keeps hostile images in their sandbox."""

    images_in_flight: int = Field(default=64, ge=1)
    """Most images in work at the same time."""
    bytes_in_flight: int = Field(default=256_000_000, ge=1)
    """Most bytes of uploaded files in memory, from their fetching until they are decoded; a larger one goes alone."""
    embed_batch: int = Field(default=16, ge=1, le=64)
    """Most images of one call to the embedder."""
    decode_processes: int | None = Field(default=None, ge=1)
    """Sandboxed processes that decode images; by default half as many as there are processors."""
    decode_memory_bytes: int = Field(default=1 << 30, ge=1 << 27)
    """Most memory that one of these may take."""
    decode_timeout_s: float = Field(default=20, gt=0)
    """How long the decoding of one image may take."""
    stop_grace_s: float = Field(default=10, ge=0)
    """How long a stopping worker may finish what it has claimed; what is left is released."""
    lease_s: float = Field(default=LEASE.total_seconds(), ge=1, le=LEASE.total_seconds())
    """How long a claim holds without being renewed; never longer than what tombstones wait for."""
    sweep_interval_s: float = Field(default=15, gt=0)
    """How often the database is searched for work that no hint has told of."""
    audit_sample: int = Field(default=1000, ge=0)
    """Images of the samples that workers take by themselves, nightly and when the vector index comes back; 0: none."""
    audit_at: time = time(3)
    """When the nightly sample is due; UTC."""
    audit_settle_s: float = Field(default=30, ge=0)
    """How long after the vector index came back its sample begins: all workers notice about then, and share one."""
    orphan_age: timedelta = Field(default=quarantine.AGE, ge=timedelta(0))
    """How long an object that no image has is kept in quarantine before it is deleted."""
    health_host: str = "127.0.0.1"
    """The address that health and metrics are served on; `0.0.0.0` for all."""
    health_port: int = Field(default=8200, ge=1, le=65_535)
    """The port that health and metrics are served on."""


class WorkerSettings(ServiceSettings):
    """Everything the worker service reads from its environment."""

    worker: PipelineSettings = PipelineSettings()
    upload: ImagePolicy = ImagePolicy()
    imports: ImportSettings = Field(default=ImportSettings(), alias="import")
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    s3: S3Settings = S3Settings()
    qdrant: QdrantSettings = QdrantSettings()
    embedder: EmbedderClientSettings = EmbedderClientSettings()
    breakers: BreakerSettings = BreakerSettings()
    search: SearchSettings = SearchSettings()
    search_log: SearchLogSettings = SearchLogSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
