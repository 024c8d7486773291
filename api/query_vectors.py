"""The vectors of what people search for: a text or a picture becomes one vector of a given model, once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from api.single_flight import SingleFlight
from api.vector_cache import Vector, VectorCache, VectorKey
from common.active_model import agree_on_model
from common.db.embedding_models import label
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.embedder_client import EmbedderClient
from common.errors import ConfigurationError

Input = TypeVar("Input")


class QueryVectors:
    """Looks in the cache before it asks the embedder, and asks once for equal searches at the same time.

    What the cache has needs no embedder at all. Raises, where it has not:
        EmbedderUnavailable: the embedder does not answer.
        ConfigurationError: it serves another model.
        Overloaded: its queue is full.
    """

    def __init__(self, database: Database, embedder: EmbedderClient, cache: VectorCache) -> None:
        self._database = database
        self._embedder = embedder
        self._cache = cache
        self._flights: SingleFlight[tuple[VectorKey, ...], dict[VectorKey, Vector]] = SingleFlight()

    async def of_texts(self, model: EmbeddingModel, texts: Sequence[str]) -> dict[str, Vector]:
        """Return each text's vector, of shape (dim,).

        Raises:
            InvalidInput: a text is too long.
        """
        keys = {text: VectorKey.of(model, "text", text.encode(errors="surrogatepass")) for text in texts}
        found = await self._find(model, {key: text for text, key in keys.items()}, self._embedder.encode_texts)
        return {text: found[key] for text, key in keys.items()}

    async def of_picture(self, model: EmbeddingModel, data: bytes, sha256: str) -> Vector:
        """Return the vector, of shape (dim,), of an encoded picture whose hash is known.

        Raises:
            ImageRejected: the picture can't be read.
        """
        key = VectorKey.of(model, "picture", bytes.fromhex(sha256))

        async def encode(pictures: Sequence[bytes]) -> list[Vector]:
            return [await self._embedder.encode_image(picture) for picture in pictures]

        return (await self._find(model, {key: data}, encode))[key]

    async def _find(
        self,
        model: EmbeddingModel,
        inputs: Mapping[VectorKey, Input],
        encode: Callable[[list[Input]], Awaitable[list[Vector]]],
    ) -> dict[VectorKey, Vector]:
        found = self._cache.recall(inputs)
        missing = {key: given for key, given in inputs.items() if key not in found}
        if missing:
            found |= await self._flights.join(tuple(missing), lambda: self._fetch(model, missing, encode))
        return found

    async def _fetch(
        self,
        model: EmbeddingModel,
        inputs: Mapping[VectorKey, Input],
        encode: Callable[[list[Input]], Awaitable[list[Vector]]],
    ) -> dict[VectorKey, Vector]:
        found = await self._cache.fetch(inputs)
        missing = {key: given for key, given in inputs.items() if key not in found}
        if missing:
            await self._require(model)
            made = dict(zip(missing, await encode(list(missing.values())), strict=True))
            await self._cache.keep(made)
            found |= made
        return found

    async def _require(self, model: EmbeddingModel) -> None:
        """Make sure that the embedder serves this model: of another one's vectors, none may come under its name."""
        active, _ = await agree_on_model(self._database, self._embedder)
        if active.id != model.id:
            raise ConfigurationError(f"the embedder serves {label(active)}, not {label(model)}", code="wrong_model")
