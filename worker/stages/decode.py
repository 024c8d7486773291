"""Decode: the models' pixels, the thumbnail and the perceptual hash, in a sandboxed child."""

from common.db.models import EmbeddingModel
from common.imaging import Preprocess
from worker.decode_pool import DecodePool
from worker.served import ServedModels
from worker.work import Work


class Decode:
    """Has the bytes decoded once, for all that follows."""

    name = "decode"

    def __init__(self, pool: DecodePool, served: ServedModels) -> None:
        self._pool = pool
        self._served = served

    async def run(self, work: Work) -> None:
        """Set pixels, thumbnail and perceptual hash of `work`; raises `ImageRejected` for what can't be decoded."""
        if work.data is None:
            return
        wishes = await self._find_wishes(work)
        preprocesses = list(dict.fromkeys(wishes.values()))
        rendered = await self._pool.render(work.data, preprocesses)
        work.let_data_go()
        pixels = dict(zip(preprocesses, rendered.pixels, strict=True))
        work.pixels = {model_id: pixels[wish] for model_id, wish in wishes.items()}
        work.thumbnail = rendered.thumbnail
        work.perceptual_hash = rendered.perceptual_hash

    async def _find_wishes(self, work: Work) -> dict[int, Preprocess]:
        """Return how the models without a vector want the image; models with the same wishes will share its pixels."""
        wishes: dict[int, Preprocess] = {}

        async def ask(model: EmbeddingModel) -> None:
            if model.id not in work.vectors:
                wishes[model.id] = await self._served.preprocess(model)

        await work.for_each_model(ask)
        return wishes
