"""The composition root of the worker service: what lives as long as the process, opened and closed in order."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from common.active_model import agree_on_model
from common.breakers import EMBEDDER, STORAGE, VECTORS, Breakers
from common.budget import Budget
from common.db import embeddings
from common.db.engine import Database
from common.db.revision import check_revision
from common.embedder_client import EmbedderClient
from common.embedding import ModelInfo
from common.errors import ConfigurationError, EmbedderUnavailable, StorageUnavailable, VectorIndexUnavailable
from common.guards import GuardedObjectStore, GuardedVectorIndex
from common.imaging import PREPROCESS_VERSION
from common.storage import ObjectStore, S3ObjectStore
from common.vectors.base import Collection, VectorIndex
from common.vectors.factory import create_vector_index
from worker.audit.audit import Audits
from worker.audit.schedule import AuditSchedule
from worker.calibration import Calibrations
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
        breakers = Breakers("worker", settings.breakers)
        # None for the database: a refused last word on an attempt would let the lease run out, and cost a try.
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        storage = GuardedObjectStore(S3ObjectStore(settings.s3), breakers.create(STORAGE, StorageUnavailable))
        stack.push_async_callback(storage.close)
        if vectors is None:
            vectors = create_vector_index(settings.qdrant, settings.search.attributes)
            stack.push_async_callback(vectors.close)
        vectors = GuardedVectorIndex(vectors, breakers.create(VECTORS, VectorIndexUnavailable))
        embedder = await stack.enter_async_context(
            EmbedderClient(settings.embedder, breaker=breakers.create(EMBEDDER, EmbedderUnavailable))
        )
        # Before anything is asked: whatever fails from here on, no probe is left over or outlives what it asks.
        stack.push_async_callback(breakers.close)

        await check_revision(database)
        await storage.ensure_bucket()
        model, served = await agree_on_model(database, embedder)
        await vectors.ensure(Collection(model.collection, model.dim))
        decoder = _create_decoder(settings, served)
        stack.push_async_callback(decoder.close)
        await decoder.start()

        lease = timedelta(seconds=settings.worker.lease_s)
        moves = Moves(database, worker_name(), lease)
        stack.push_async_callback(moves.close)
        leases = Leases(moves, lease)
        memory = Budget(settings.worker.bytes_in_flight)
        BYTES_IN_FLIGHT.set_function(lambda: memory.used)
        served_models = ServedModels(embedder)
        stages = arrange(
            [
                Fetch(storage, memory),
                Decode(decoder, served_models),
                Fingerprint(database),
                Thumbnail(storage),
                Embed(served_models, moves, settings.worker.embed_batch),
                Index(vectors),
            ],
            load_extensions(),
            StageContext(database, storage, embedder, Labels(database)),
        )
        gate = _create_gate(database, breakers)
        stack.push_async_callback(gate.close)
        duplicates = Duplicates(
            database,
            DuplicateSearch(database, vectors),
            Rehash(storage, decoder),
            settings.duplicates.thresholds(),
            interval_s=settings.worker.sweep_interval_s,
        )
        pipeline = Pipeline(
            stages,
            moves,
            leases,
            images_in_flight=settings.worker.images_in_flight,
            gate=gate,
            on_done=duplicates.add,
        )
        # Whoever was at work on an image when it changed has lost it after two leases.
        audits = Audits(database, storage, vectors, grace=2 * lease)
        embedding = Embedding(database, storage, decoder, served_models, memory, settings.worker.embed_batch)
        reembeds = Reembeds(database, vectors, served_models, embedding)
        calibrations = Calibrations(database, storage, decoder, served_models)
        internet = Internet(settings.imports.concurrent)
        stack.callback(internet.close)
        yield WorkerContext(
            database=database,
            storage=storage,
            vectors=vectors,
            embedder=embedder,
            breakers=breakers,
            pipeline=pipeline,
            leases=leases,
            sweeper=Sweeper(
                database,
                storage,
                vectors,
                pipeline,
                interval_s=settings.worker.sweep_interval_s,
                orphan_age=settings.worker.orphan_age,
                searches_kept=settings.search_log.retention,
            ),
            operations=[
                Operations(database, worker_name(), [audits, calibrations], lease),
                # A fill may take days: nothing that has to be done soon waits for it.
                Operations(database, worker_name(), [reembeds, Retirements(database, vectors)], lease),
            ],
            audit_schedule=_create_schedule(settings.worker, database, breakers),
            downloads=_create_downloads(settings, internet, database, storage, pipeline, breakers),
            duplicates=duplicates,
        )


def _create_gate(database: Database, breakers: Breakers) -> Gate:
    async def find_embedded(ids: Sequence[UUID]) -> set[UUID]:
        async with database.begin() as session:
            return await embeddings.find_embedded(session, ids)

    return Gate(breakers, find_embedded)


def _create_schedule(settings: PipelineSettings, database: Database, breakers: Breakers) -> AuditSchedule:
    return AuditSchedule(
        database,
        lambda: breakers.wait_for_return(VECTORS),
        sample=settings.audit_sample,
        at=settings.audit_at,
        settle=timedelta(seconds=settings.audit_settle_s),
    )


def _create_downloads(
    settings: WorkerSettings,
    internet: Internet,
    database: Database,
    storage: ObjectStore,
    pipeline: Pipeline,
    breakers: Breakers,
) -> Downloads:
    return Downloads(
        database,
        storage,
        Fetcher(internet.network, settings.imports.timeout_s),
        settings.imports,
        settings.upload,
        worker=worker_name(),
        process=pipeline.process_all,
        may_store=lambda: breakers[STORAGE].closed,
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
