"""Encoded images to model pixels, on a few threads of their own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from common.embedding import PreprocessInfo
from common.errors import ImageTooLarge, Overloaded
from common.imaging import Preprocess, decode, model_pixels
from common.settings import ImagePolicy
from embedder.model import Pixels


class ImageDecoder:
    """Checks, decodes and resizes; at most `max_pending` images at a time, so that memory stays bounded.

    The workers' bulk path (`POST /encode/pixels`) does not come through here: they decode in sandboxed processes.
    """

    def __init__(
        self, policy: ImagePolicy, *, threads: int, max_pending: int, decoded: Callable[[float], object]
    ) -> None:
        """Create it; `decoded` is told how many seconds an image took."""
        self._policy = policy
        self._max_pending = max_pending
        self._pending = 0
        self._decoded = decoded
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def decode(self, data: bytes, preprocess: PreprocessInfo) -> Pixels:
        """Make the model's input (S, S, 3) of an encoded image.

        Raises:
            ImageRejected: the image itself is at fault.
            Overloaded: too many images are being decoded.
        """
        if len(data) > self._policy.max_file_bytes:
            raise ImageTooLarge(f"an image may have {self._policy.max_file_bytes} bytes", code="file_too_large")
        if self._pending >= self._max_pending:
            raise Overloaded(f"{self._pending} images are already being decoded")
        self._pending += 1
        start = time.perf_counter()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._decode, data, preprocess)
        finally:
            self._pending -= 1
            self._decoded(time.perf_counter() - start)

    def close(self) -> None:
        """Let the threads end; what has not begun is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _decode(self, data: bytes, preprocess: PreprocessInfo) -> Pixels:
        return model_pixels(decode(data, self._policy), Preprocess(**preprocess.model_dump()))
