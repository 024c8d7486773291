"""Moderation: images with certain labels are hidden, unless their owner decides otherwise. Off until configured."""

from worker.extensions import Extension, StageContext
from worker.work import Stage
from worker.zero_shot.settings import Settings
from worker.zero_shot.stage import ZeroShot


def create(context: StageContext) -> Stage | None:
    """Return the stage, if it is configured."""
    settings = Settings().moderation
    return ZeroShot("moderation", settings, context, hides=True) if settings.labels else None


extension = Extension(after="embed", create=create, settings=Settings)
