"""Stages from elsewhere: an installed package adds its own by the entry point group `likeness.stages`.

    [project.entry-points."likeness.stages"]
    colours = "colour_names:extension"

where `colour_names.extension` is an `Extension`. Nothing in the worker changes for it. docs/extending.md has the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from common.db.engine import Database
from common.embedder_client import EmbedderClient
from common.errors import ConfigurationError
from common.settings import ServiceSettings
from common.storage import ObjectStore
from worker.labels import Labels
from worker.work import Stage

GROUP = "likeness.stages"


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage may use; it lives as long as the worker."""

    database: Database
    storage: ObjectStore
    embedder: EmbedderClient
    """Its `serving(label)` embeds by one model; that of the image at hand is `work.active`."""
    labels: Labels
    """Where a stage keeps what it sees in images."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A stage from elsewhere, and the stage it comes right after."""

    after: str
    create: Callable[[StageContext], Stage | None]
    """Called once, when the worker starts; None: it is not configured, and there will be no such stage."""
    settings: type[ServiceSettings] | None = None
    """What `create` reads, if anything: so it is checked together with the worker's own."""


def load_extensions() -> list[Extension]:
    """Return the installed extensions, in the order of their entry points' names.

    Raises:
        ConfigurationError: an entry point names something that is not an `Extension`.
    """
    loaded = [(point.name, point.load()) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
    for name, extension in loaded:
        if not isinstance(extension, Extension):
            raise ConfigurationError(f"the entry point {name!r} of {GROUP} is no Extension", code="bad_extension")
    return [extension for _, extension in loaded]


def extension_settings() -> list[type[ServiceSettings]]:
    """Return what the installed extensions read; raises as `load_extensions` does."""
    return [extension.settings for extension in load_extensions() if extension.settings is not None]


def arrange(stages: Sequence[Stage], extensions: Sequence[Extension], context: StageContext) -> list[Stage]:
    """Put each extension's stage right after the one it names; several after the same keep their order.

    Raises:
        ConfigurationError: there is no such stage, or it is the last: after it the image is `done`.
    """
    places: dict[str, list[Stage]] = {stage.name: [] for stage in stages[:-1]}
    for extension in extensions:
        if extension.after not in places:
            raise ConfigurationError(
                f"an extension wants to follow {extension.after!r}; it can follow {', '.join(places)}",
                code="bad_extension",
            )
        if (stage := extension.create(context)) is not None:
            places[extension.after].append(stage)
    return [placed for stage in stages for placed in (stage, *places.get(stage.name, ()))]
