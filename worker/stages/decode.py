"""Decode: the model's pixels, the thumbnail and the perceptual hash, in a sandboxed child."""

from worker.decode_pool import DecodePool
from worker.work import Work


class Decode:
    """Has the bytes decoded once, for all that follows."""

    name = "decode"

    def __init__(self, pool: DecodePool) -> None:
        self._pool = pool

    async def run(self, work: Work) -> None:
        """Set pixels, thumbnail and perceptual hash of `work`; raises `ImageRejected` for what can't be decoded."""
        if work.data is None:
            return
        rendered = await self._pool.render(work.data)
        work.let_data_go()
        work.pixels = rendered.pixels
        work.thumbnail = rendered.thumbnail
        work.perceptual_hash = rendered.perceptual_hash
