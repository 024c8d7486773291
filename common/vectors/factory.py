"""Which vector index the settings ask for."""

import math
import warnings
from importlib.util import find_spec

from common.attributes import Declared
from common.errors import ConfigurationError
from common.settings import QdrantSettings
from common.vectors.base import VectorIndex

_POOL_SIZE = 32


def create_vector_index(settings: QdrantSettings, attributes: Declared | None = None) -> VectorIndex:
    """Create the index; a server is not asked anything yet, an embedded one is locked for this process.

    `attributes` are those that filters may ask for.

    Raises:
        ConfigurationError: the settings name no index, or the embedded one can't be opened here.
    """
    if settings.path is not None:
        if find_spec("qdrant_edge") is None:
            raise ConfigurationError("QDRANT__PATH needs the package qdrant-edge-py: install likeness[local]")
        # Only the local stack has the engine installed.
        from common.vectors.edge import EdgeIndex  # noqa: PLC0415

        return EdgeIndex(settings.path, timeout_s=settings.timeout_s, attributes=attributes)
    if settings.url is None:
        raise ConfigurationError("set QDRANT__URL (a Qdrant server) or QDRANT__PATH (a folder for an embedded index)")
    # A fifth of a service's imports, and the local stack has no server to talk to.
    from qdrant_client import AsyncQdrantClient  # noqa: PLC0415

    from common.vectors.qdrant import QdrantIndex  # noqa: PLC0415

    with warnings.catch_warnings():
        # Inside a private network a key without TLS is no mistake.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        client = AsyncQdrantClient(
            url=settings.url,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            timeout=math.ceil(settings.timeout_s),
            pool_size=_POOL_SIZE,
            check_compatibility=False,
            trust_env=False,
        )
    return QdrantIndex(client, timeout_s=settings.timeout_s, attributes=attributes)
