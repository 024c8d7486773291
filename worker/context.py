"""The composition root of the worker service: what lives as long as the process, opened and closed in order."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from common.breakers import STORAGE, VECTORS, Breakers
from common.budget import Budget
from common.db import embeddings
from common.db.engine import Database
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError
from common.imaging import PREPROCESS_VERSION
from common.storage import ObjectStore
from common.vectors.base import VectorIndex
from worker.audit.audit import Audits
from worker.audit.schedule import AuditSchedule
from worker.calibration import Calibrations
from worker.census import CensusTaker
from worker.connections import Connections, open_connections
from worker.decode_pool import DecodeLimits, DecodePool
from worker.downloads import Downloads
from worker.duplicates.loop import Duplicates
from worker.duplicates.rehash import Rehash
from worker.duplicates.search import DuplicateSearch
from worker.extensions import StageContext, arrange, load_extensions
from worker.gate import Gate
from worker.labels import Labels
from worker.leases import Leases
from worker.metrics import BYTES_IN_FLIGHT
from worker.moves import Moves
from worker.operations import Operations
from worker.pipeline import Pipeline
from worker.reembed.embedding import Embedding
from worker.reembed.fill import Reembeds
from worker.reembed.retirement import Retirements
from worker.served import ServedModels
from worker.settings import PipelineSettings, WorkerSettings
from worker.stages.decode import Decode
from worker.stages.embed import Embed
from worker.stages.fetch import Fetch
from worker.stages.fingerprint import Fingerprint
from worker.stages.index import Index
from worker.stages.thumbnail import Thumbnail
from worker.sweeper import Sweeper
from worker.url_fetch import Fetcher, Internet
from worker.work import Stage


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """An open worker: its pipeline, and the loops that have to run beside it."""

    database: Database
    storage: ObjectStore
    vectors: VectorIndex
    embedder: EmbedderClient
    breakers: Breakers
    pipeline: Pipeline
    leases: Leases
    sweeper: Sweeper
    operations: Sequence[Operations]
    """They run beside each other."""
    audit_schedule: AuditSchedule
    downloads: Downloads
    duplicates: Duplicates
    census: CensusTaker


def worker_name() -> str:
    """Return this worker's name in leases and events."""
    return f"{socket.gethostname()}:{os.getpid()}"


@asynccontextmanager
async def open_worker(settings: WorkerSettings, vectors: VectorIndex | None = None) -> AsyncIterator[WorkerContext]:
    """Open everything a worker needs; what was opened is closed also when a later step fails.

    Args:
        settings: of this service.
        vectors: an index that is open already (the embedded one can be opened once only); it stays open.

    Raises:
        ConfigurationError: the database is at another revision, or the embedder serves another model.
        InfrastructureError: a dependency can't be reached.
    """
    async with AsyncExitStack() as stack:
        connected = await open_connections(stack, settings, vectors)
        decoder = _create_decoder(settings, await connected.check())
        stack.push_async_callback(decoder.close)
        await decoder.start()
        own = _Means(
            connected,
            decoder,
            ServedModels(connected.embedder),
            Budget(settings.worker.bytes_in_flight, BYTES_IN_FLIGHT.set),
            timedelta(seconds=settings.worker.lease_s),
        )
        moves = Moves(connected.database, worker_name(), own.lease)
        stack.push_async_callback(moves.close)
        leases = Leases(moves, own.lease)
        gate = _create_gate(connected)
        stack.push_async_callback(gate.close)
        duplicates = _create_duplicates(settings, own)
        pipeline = Pipeline(
            _arrange_stages(settings.worker, own, moves),
            moves,
            leases,
            images_in_flight=settings.worker.images_in_flight,
            gate=gate,
            on_done=duplicates.add,
        )
        internet = Internet(settings.imports.concurrent)
        stack.callback(internet.close)
        yield WorkerContext(
            database=connected.database,
            storage=connected.storage,
            vectors=connected.vectors,
            embedder=connected.embedder,
            breakers=connected.breakers,
            pipeline=pipeline,
            leases=leases,
            sweeper=_create_sweeper(settings, connected, pipeline),
            operations=_create_operations(settings.worker, own),
            audit_schedule=_create_schedule(settings.worker, connected),
            downloads=_create_downloads(settings, internet, connected, pipeline),
            duplicates=duplicates,
            census=CensusTaker(connected.counting, interval_s=settings.worker.sweep_interval_s),
        )


@dataclass(frozen=True, slots=True)
class _Means:
    """What the parts of a worker share."""

    connected: Connections
    decoder: DecodePool
    served: ServedModels
    memory: Budget
    lease: timedelta


def _arrange_stages(settings: PipelineSettings, own: _Means, moves: Moves) -> Sequence[Stage]:
    database, storage = own.connected.database, own.connected.storage
    return arrange(
        [
            Fetch(storage, own.memory),
            Decode(own.decoder, own.served),
            Fingerprint(database),
            Thumbnail(storage),
            Embed(own.served, moves, settings.embed_batch),
            Index(own.connected.vectors),
        ],
        load_extensions(),
        StageContext(database, storage, own.connected.embedder, Labels(database)),
    )


def _create_duplicates(settings: WorkerSettings, own: _Means) -> Duplicates:
    database = own.connected.database
    return Duplicates(
        database,
        DuplicateSearch(database, own.connected.vectors),
        Rehash(own.connected.storage, own.decoder),
        settings.duplicates.thresholds(),
        interval_s=settings.worker.sweep_interval_s,
    )


def _create_sweeper(settings: WorkerSettings, connected: Connections, pipeline: Pipeline) -> Sweeper:
    return Sweeper(
        connected.database,
        connected.storage,
        connected.vectors,
        pipeline,
        interval_s=settings.worker.sweep_interval_s,
        orphan_age=settings.worker.orphan_age,
        searches_kept=settings.search_log.retention,
    )


def _create_operations(settings: PipelineSettings, own: _Means) -> Sequence[Operations]:
    database, storage, vectors = own.connected.database, own.connected.storage, own.connected.vectors
    # Whoever was at work on an image when it changed has lost it after two leases.
    audits = Audits(database, storage, vectors, grace=2 * own.lease)
    calibrations = Calibrations(database, storage, own.decoder, own.served)
    embedding = Embedding(database, storage, own.decoder, own.served, own.memory, settings.embed_batch)
    reembeds = Reembeds(database, vectors, own.served, embedding)
    return [
        Operations(database, worker_name(), [audits, calibrations], own.lease),
        # A fill may take days: nothing that has to be done soon waits for it.
        Operations(database, worker_name(), [reembeds, Retirements(database, vectors)], own.lease),
    ]


def _create_gate(connected: Connections) -> Gate:
    async def find_embedded(ids: Sequence[UUID]) -> set[UUID]:
        async with connected.database.begin() as session:
            return await embeddings.find_embedded(session, ids)

    return Gate(connected.breakers, find_embedded)


def _create_schedule(settings: PipelineSettings, connected: Connections) -> AuditSchedule:
    return AuditSchedule(
        connected.database,
        lambda: connected.breakers.wait_for_return(VECTORS),
        sample=settings.audit_sample,
        at=settings.audit_at,
        settle=timedelta(seconds=settings.audit_settle_s),
    )


def _create_downloads(
    settings: WorkerSettings, internet: Internet, connected: Connections, pipeline: Pipeline
) -> Downloads:
    return Downloads(
        connected.database,
        connected.storage,
        Fetcher(internet.network, settings.imports.timeout_s),
        settings.imports,
        settings.upload,
        worker=worker_name(),
        process=pipeline.process_all,
        may_store=lambda: connected.breakers[STORAGE].closed,
    )


def _create_decoder(settings: WorkerSettings, served: ModelInfo) -> DecodePool:
    if served.preprocess_version != PREPROCESS_VERSION:
        raise ConfigurationError(
            f"the embedder preprocesses by version {served.preprocess_version}, this worker by {PREPROCESS_VERSION}: "
            "run the same release of both",
            code="wrong_preprocess_version",
        )
    return DecodePool(
        settings.upload,
        size=settings.worker.decode_processes or max(1, (os.cpu_count() or 2) // 2),
        limits=DecodeLimits(
            memory_bytes=settings.worker.decode_memory_bytes,
            cpu_s=settings.worker.decode_timeout_s,
            wall_s=settings.worker.decode_timeout_s * 1.5,
        ),
    )
