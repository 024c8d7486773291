"""What an empty server is made ready with: the services' own settings, and the rights to create what they name."""

from pydantic import BaseModel, SecretStr

from common.attributes import SearchSettings
from common.settings import (
    DatabaseAddress,
    DatabaseSettings,
    EmbedderClientSettings,
    QdrantSettings,
    S3Settings,
    ServiceSettings,
)


class AdminSettings(BaseModel):
    """Credentials that may create roles, databases, buckets and users. Services never have them."""

    database_url: DatabaseAddress | None = None
    """PostgreSQL as a superuser; without, role and database of `DATABASE__URL` have to be there."""
    s3_access_key: str = ""
    """The name of the object store's administrator; without, `S3__ACCESS_KEY` has to be known there."""
    s3_secret_key: SecretStr = SecretStr("")
    """The key of the object store's administrator."""


class BootstrapSettings(ServiceSettings):
    """Everything `likeness bootstrap` reads from the environment."""

    bootstrap: AdminSettings = AdminSettings()
    database: DatabaseSettings = DatabaseSettings()
    s3: S3Settings = S3Settings()
    qdrant: QdrantSettings = QdrantSettings()
    embedder: EmbedderClientSettings = EmbedderClientSettings()
    search: SearchSettings = SearchSettings()
