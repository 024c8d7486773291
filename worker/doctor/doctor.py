"""Everything there is to examine, all of it at once."""

import asyncio
from collections.abc import Collection, Iterator

from worker.doctor import api, disk, embedded_index, embedder, postgresql, qdrant, redis, s3, workers
from worker.doctor.examination import Examination, Findings, carry_out
from worker.doctor.findings import DEPENDENCIES, Diagnosis, failed
from worker.doctor.live_models import FindModels, LiveModels
from worker.doctor.settings import Configuration, DoctorSettings


async def examine(configuration: Configuration, only: Collection[str] = DEPENDENCIES) -> list[Diagnosis]:
    """Examine dependencies. What the settings are like comes first, and is all there is if they can't be read."""
    settings = configuration.settings
    if settings is None:
        return [configuration.diagnosis]
    limits = settings.doctor
    models = LiveModels(lambda: postgresql.find_models(settings.database), limits.timeout_s / 2)
    wanted = [each for each in _list(configuration, settings, models) if each.dependency in only]
    return [configuration.diagnosis, *await asyncio.gather(*(carry_out(each, limits.timeout_s) for each in wanted))]


def _list(configuration: Configuration, settings: DoctorSettings, models: FindModels) -> Iterator[Examination]:
    limits = settings.doctor
    yield postgresql.examination(settings.database, limits)
    yield redis.examination(settings.redis, limits)
    yield s3.examination(settings.s3, limits)
    yield _choose_index(settings, models)
    for url in settings.embedder.urls:
        yield embedder.examination(url, models, limits)
    yield workers.examination(settings.redis, limits)
    if configuration.api_url is not None:
        yield api.examination(configuration.api_url, limits)
    for folder, purpose in disk.folders(configuration.home, settings.qdrant.path):
        yield disk.examination(folder, purpose, limits)


def _choose_index(settings: DoctorSettings, models: FindModels) -> Examination:
    if settings.qdrant.path is not None:
        return embedded_index.examination(settings.qdrant.path, models)
    if settings.qdrant.url is not None:
        attributes = settings.search.attributes
        return qdrant.examination(settings.qdrant, settings.qdrant.url, attributes, models, settings.doctor)
    return Examination("qdrant", "", ("address", qdrant.COLLECTION), _no_index, qdrant.SETTING)


async def _no_index() -> Findings:
    yield failed(
        "address",
        "neither QDRANT__URL nor QDRANT__PATH is set",
        "Set QDRANT__URL to a Qdrant server's address; QDRANT__PATH is for one machine, and one process.",
    )
