"""Settings of the cluster on one machine."""

from pydantic import BaseModel, Field

from common.attributes import SearchSettings
from common.settings import LogSettings, QdrantSettings, ServiceSettings


class ClusterSize(BaseModel):
    """How many processes of each service run."""

    apis: int = Field(default=2, ge=1, le=16)
    """They listen on `PORT` and the ports after it."""
    workers: int = Field(default=2, ge=1, le=16)
    embedders: int = Field(default=2, ge=1, le=16)


class ClusterSettings(ServiceSettings):
    """What `make cluster` reads from its environment, beside what `make run` and the services do."""

    cluster: ClusterSize = ClusterSize()


class VectorServerSettings(BaseModel):
    """Where the server before the embedded index listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=6333, ge=1, le=65_535)


class VectorProcessSettings(ServiceSettings):
    """What the process that owns the embedded index reads from its environment."""

    vectors: VectorServerSettings = VectorServerSettings()
    qdrant: QdrantSettings = QdrantSettings()
    search: SearchSettings = SearchSettings()
    log: LogSettings = LogSettings()
