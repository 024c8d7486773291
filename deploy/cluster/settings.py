"""Settings of the cluster on one machine."""

from pydantic import BaseModel, Field

from common.attributes import SearchSettings
from common.settings import LogSettings, QdrantSettings, ServiceSettings


class ClusterSize(BaseModel):
    """How many processes of each service run."""

    apis: int = Field(default=2, ge=1, le=16)
    """They listen on `PORT` and the ports after it."""
    workers: int = Field(default=2, ge=1, le=16)
    """They share the work by the rows alone."""
    embedders: int = Field(default=2, ge=1, le=16)
    """They share the cores, so more of them are no faster on one machine."""


class ClusterSettings(ServiceSettings):
    """What `make cluster` reads from its environment, beside what `make run` and the services do."""

    cluster: ClusterSize = ClusterSize()


class VectorServerSettings(BaseModel):
    """Where the server before the embedded index listens."""

    host: str = "127.0.0.1"
    """The address that the process listens on."""
    port: int = Field(default=6333, ge=1, le=65_535)
    """The port that it listens on."""


class VectorProcessSettings(ServiceSettings):
    """What the process that owns the embedded index reads from its environment."""

    vectors: VectorServerSettings = VectorServerSettings()
    qdrant: QdrantSettings = QdrantSettings()
    search: SearchSettings = SearchSettings()
    log: LogSettings = LogSettings()
