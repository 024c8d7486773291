"""api and worker in one process, around the one embedded vector index that only one process may open."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from api.main import create_app
from api.settings import ApiSettings
from common import tracing
from common.arguments import take_none
from common.breakers import BreakerState
from common.errors import InfrastructureError, LikenessError
from common.log import configure_logging
from common.readiness import Dependency
from common.serving import serving
from common.starting import check_settings, ending_plainly, settle_memory
from common.vectors.base import VectorIndex
from common.vectors.factory import create_vector_index
from worker.context import WorkerContext, open_worker
from worker.extensions import extension_settings
from worker.main import run_worker
from worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

_RETRY_S = 0.5


async def run(api: ApiSettings, worker: WorkerSettings, stop: asyncio.Event) -> None:
    """Serve and work until `stop` is set, or one of the two dies."""
    vectors = create_vector_index(api.qdrant, api.search.attributes)
    neighbour = _Neighbour()
    try:
        # Uploads are taken in from the start; the worker follows as soon as the embedder is ready.
        async with serving(
            create_app(api, vectors=vectors, neighbours=[neighbour.probe]), api.http.host, api.http.port
        ) as server:
            work = asyncio.create_task(_work(worker, vectors, stop, neighbour))
            try:
                await asyncio.wait({server, work}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.set()
                await work
    finally:
        await vectors.close()


class _Neighbour:
    """The worker, as the api's `/ready` shows it. The api serves without it: uploads are kept until it works."""

    def __init__(self) -> None:
        self.waits_for: str | None = "it is starting"
        """Why it does not run; None: it does."""
        self.context: WorkerContext | None = None

    async def probe(self) -> Dependency:
        """Tell how the worker is; what it needs is asked by the api itself."""
        detail = self.waits_for or ""
        if self.context is not None:
            states = self.context.breakers.states
            down = [name for name, state in states.items() if state is not BreakerState.CLOSED]
            detail = f"it waits for {' and '.join(down)}" if down else ""
        return Dependency(name="worker", ok=not detail, needed=False, detail=detail)

    @contextmanager
    def running(self, context: WorkerContext) -> Iterator[None]:
        """Note that the worker runs while inside."""
        self.context, self.waits_for = context, None
        try:
            yield
        finally:
            self.context, self.waits_for = None, "it has stopped"


async def _work(settings: WorkerSettings, vectors: VectorIndex, stop: asyncio.Event, neighbour: _Neighbour) -> None:
    while not stop.is_set():
        try:
            async with open_worker(settings, vectors) as context:
                log.info("worker_ready")
                settle_memory()
                with neighbour.running(context):
                    await run_worker(context, settings, stop)
        except InfrastructureError as error:
            log.info("worker_waits", code=error.code, reason=str(error))
            neighbour.waits_for = str(error)
            await asyncio.sleep(_RETRY_S)


async def _main(api: ApiSettings, worker: WorkerSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tracing.started(api.tracing, "likeness-app"):
        await run(api, worker, stop)


def main() -> None:
    """Run until told to stop."""
    with ending_plainly():
        check_settings(ApiSettings, WorkerSettings, *extension_settings())
        api, worker = ApiSettings(), WorkerSettings()
    configure_logging(api.log)
    try:
        asyncio.run(_main(api, worker))
    except LikenessError as error:
        log.error("cannot_serve", code=error.code, error=str(error))  # noqa: TRY400 - the message says it all
        raise SystemExit(1) from None


if __name__ == "__main__":
    take_none("deploy.local.app", __doc__)
    main()
