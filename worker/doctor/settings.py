"""What the doctor examines: the services' settings, as they are set here or by the running local stack."""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from common.connection_file import API_URL, connection_file, find_connection
from common.errors import ConfigurationError, SettingsInvalid
from common.settings_sources import ENVIRONMENT
from worker.doctor.findings import Diagnosis, Finding, failed, ok, warning
from worker.local_stack import LocalStack
from worker.settings import WorkerSettings

DEPENDENCY = "settings"

_CHECK = "values"
_DATABASE_URL, _DATABASE = "DATABASE__URL", ("database", "url")


class Limits(BaseModel):
    """What the doctor takes for healthy (`DOCTOR__…`)."""

    timeout_s: float = Field(default=8, gt=0)
    """How long the checks of one dependency may take together; all dependencies are examined at once."""
    min_free_bytes: int = Field(default=5_000_000_000, ge=0)
    """Space that has to be free where this machine writes: temporary files, and folders of stores."""
    max_clock_skew_s: float = Field(default=5, gt=0)
    """By how much another machine's clock may differ from this one's."""

    @property
    def max_clock_skew(self) -> timedelta:
        """`max_clock_skew_s` as a time span."""
        return timedelta(seconds=self.max_clock_skew_s)


class DoctorSettings(WorkerSettings):
    """Everything the doctor reads: what a worker does, and its own limits."""

    doctor: Limits = Limits()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: PydanticBaseSettingsSource, **kwargs: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the services' sources, and the local stack after them."""
        return *super().settings_customise_sources(settings_cls, *args, **kwargs), LocalStack(settings_cls)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, or None where they can't be read, and what is to be said of them."""

    diagnosis: Diagnosis
    settings: DoctorSettings | None = None
    api_url: str | None = None
    """Where the HTTP API is, if that is known."""
    home: Path | None = None
    """The local stack's data folder, if it is what is examined."""


def read_configuration() -> Configuration:
    """Read the settings and, where they name no database, the local stack's connection file."""
    try:
        settings = DoctorSettings()
        local = find_connection()
    except SettingsInvalid as error:
        return Configuration(Diagnosis(DEPENDENCY, "", [_judge_wrong(problem) for problem in error.problems]))
    except ConfigurationError as error:
        problem = failed(_CHECK, str(error), "Correct what it names, or run this as the user who started the services.")
        return Configuration(Diagnosis(DEPENDENCY, "", [problem]))
    file = connection_file()
    places = tuple(dict.fromkeys(settings.places.values()))
    if local.get(_DATABASE_URL) == settings.database.url.get_secret_value():
        source = ok(_CHECK, f"read from {_list(*places, str(file))}: a local stack runs there")
        api_url = os.environ.get(API_URL) or local.get(API_URL)
        return Configuration(Diagnosis(DEPENDENCY, "local stack", [source]), settings, api_url, file.parent)
    source = ok(_CHECK, f"read from {_list(*places)}") if _DATABASE in settings.places else _DEFAULTS
    target = ", ".join(places) or "defaults"
    return Configuration(Diagnosis(DEPENDENCY, target, [source]), settings, os.environ.get(API_URL) or None)


def _list(*places: str) -> str:
    """Return places in words, as they are read: the first goes first."""
    named = ["the environment" if place == ENVIRONMENT else place for place in places]
    return ", then ".join(named)


_DEFAULTS = warning(
    _CHECK,
    f"{_DATABASE_URL} is not set, and no local stack runs: defaults are used",
    f"Set {_DATABASE_URL} and the others as the services have them; or start a local stack, `make run`, and run this "
    "in the same folder, with the same LIKENESS_HOME.",
)


def _judge_wrong(problem: str) -> Finding:
    name = problem.partition(" ")[0].rstrip(":")
    return failed(_CHECK, problem, f"Set {name} to what is allowed, or unset it: no service starts so.")
