"""The vectors of what people search for: a text or a picture becomes one vector of a given model, once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from api.single_flight import SingleFlight
from api.vector_cache import Vector, VectorCache, VectorKey
from common.db.embedding_models import is_served_as, label
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient, ModelClient
from common.errors import ConfigurationError

Input = TypeVar("Input")
Encode = Callable[[ModelClient, list[Input]], Awaitable[list[Vector]]]


class QueryVectors:
    """Looks in the cache before it asks the embedder, and asks once for equal searches at the same time.

    What the cache has needs no embedder at all. Raises, where it has not:
        EmbedderUnavailable: the embedder does not answer.
        UnknownModel, ConfigurationError: it does not serve this model.
        Overloaded: its queue is full.
    """

    def __init__(self, embedder: EmbedderClient, cache: VectorCache) -> None:
        self._embedder = embedder
        self._cache = cache
        self._flights: SingleFlight[tuple[VectorKey, ...], dict[VectorKey, Vector]] = SingleFlight()

    async def of_texts(self, model: EmbeddingModel, texts: Sequence[str]) -> dict[str, Vector]:
        """Return each text's vector, of shape (dim,).

        Raises:
            InvalidInput: a text is too long.
        """
        keys = {text: VectorKey.of(model, "text", text.encode(errors="surrogatepass")) for text in texts}
        inputs = {key: text for text, key in keys.items()}
        found = await self._find(model, inputs, ModelClient.encode_texts)
        return {text: found[key] for text, key in keys.items()}

    async def of_picture(self, model: EmbeddingModel, data: bytes, sha256: str) -> Vector:
        """Return the vector, of shape (dim,), of an encoded picture whose hash is known.

        Raises:
            ImageRejected: the picture can't be read.
        """
        key = VectorKey.of(model, "picture", bytes.fromhex(sha256))
        return (await self._find(model, {key: data}, _encode_pictures))[key]

    async def _find(
        self, model: EmbeddingModel, inputs: Mapping[VectorKey, Input], encode: Encode[Input]
    ) -> dict[VectorKey, Vector]:
        found = self._cache.recall(inputs)
        missing = {key: given for key, given in inputs.items() if key not in found}
        if missing:
            found |= await self._flights.join(tuple(missing), lambda: self._fetch(model, missing, encode))
        return found

    async def _fetch(
        self, model: EmbeddingModel, inputs: Mapping[VectorKey, Input], encode: Encode[Input]
    ) -> dict[VectorKey, Vector]:
        found = await self._cache.fetch(inputs)
        missing = {key: given for key, given in inputs.items() if key not in found}
        if missing:
            client = await self._client_of(model)
            made = dict(zip(missing, await encode(client, list(missing.values())), strict=True))
            await self._cache.keep(made)
            found |= made
        return found

    async def _client_of(self, model: EmbeddingModel) -> ModelClient:
        """Return the client of this model: of another one's vectors, none may come under its name."""
        client = self._embedder.serving(label(model), model.preprocess_version)
        if not is_served_as(model, await client.model()):
            raise ConfigurationError(
                f"the embedder's {label(model)} is not the one the images here are indexed with: run the same release "
                "of all services",
                code="wrong_model",
            )
        return client


async def _encode_pictures(client: ModelClient, pictures: list[bytes]) -> list[Vector]:
    return [await client.encode_image(picture) for picture in pictures]
