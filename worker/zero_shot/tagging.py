"""Tagging: labels for searches to filter by. Off until `TAGGING__LABELS` says what to look for."""

from worker.extensions import Extension, StageContext
from worker.work import Stage
from worker.zero_shot.settings import Settings
from worker.zero_shot.stage import ZeroShot


def create(context: StageContext) -> Stage | None:
    """Return the stage, if it is configured."""
    settings = Settings().tagging
    return ZeroShot("tagging", settings, context) if settings.labels else None


extension = Extension(after="embed", create=create, settings=Settings)
