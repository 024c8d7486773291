"""Which index the settings ask for."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from common.errors import ConfigurationError
from common.settings import QdrantSettings
from common.vectors.edge import EdgeIndex
from common.vectors.factory import create_vector_index
from common.vectors.qdrant import QdrantIndex


async def test_a_path_asks_for_the_embedded_index(tmp_path: Path) -> None:
    index = create_vector_index(QdrantSettings(path=tmp_path / "new" / "vectors"))
    assert isinstance(index, EdgeIndex)
    await index.ping()
    await index.close()


async def test_a_url_asks_for_a_server() -> None:
    settings = QdrantSettings(url="https://qdrant.test:6333", api_key=SecretStr("sesame"), timeout_s=2.5)
    index = create_vector_index(settings)
    assert isinstance(index, QdrantIndex)
    http = index._client.http.client._async_client
    assert http.headers.get("api-key") == "sesame"
    assert http.timeout.read == 3  # the client takes whole seconds; ours bounds the call
    assert not http.trust_env
    await index.close()


def test_nothing_asked_for_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="QDRANT__URL"):
        create_vector_index(QdrantSettings())


def test_an_engine_that_is_not_installed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.vectors.factory.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="qdrant-edge-py"):
        create_vector_index(QdrantSettings(path=tmp_path))
