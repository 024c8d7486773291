"""What the doctor examines: the services' settings, of the environment or of the running local stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from common.connection_file import API_URL, connection_file, find_connection
from common.errors import ConfigurationError
from worker.doctor.findings import Diagnosis, Finding, failed, ok, warning
from worker.settings import WorkerSettings

DEPENDENCY = "settings"

_CHECK = "values"
_DATABASE_URL = "DATABASE__URL"


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


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, or None where they can't be read, and what is to be said of them."""

    diagnosis: Diagnosis
    settings: DoctorSettings | None = None
    api_url: str | None = None
    """Where the HTTP API is, if that is known."""
    local: Mapping[str, str] = field(default_factory=dict)
    """What the local stack's connection file says, if it is the one that is examined."""


def read_configuration() -> Configuration:
    """Read the environment and, where it names no database, the local stack's connection file."""
    try:
        local = {} if _DATABASE_URL in os.environ else dict(find_connection())
        settings = DoctorSettings(**_nested({name: value for name, value in local.items() if name not in os.environ}))
    except ConfigurationError as error:
        problem = failed(_CHECK, str(error), "Correct what it names, or run this as the user who started the services.")
        return _told([problem], "environment")
    except ValidationError as error:
        return _told(_problems(error), "environment")
    return Configuration(
        Diagnosis(DEPENDENCY, _say_source(local), [_judge_source(local)]),
        settings,
        os.environ.get(API_URL) or local.get(API_URL),
        local,
    )


def _told(findings: list[Finding], source: str) -> Configuration:
    return Configuration(Diagnosis(DEPENDENCY, source, findings))


def _problems(error: ValidationError) -> list[Finding]:
    """Return a finding for each wrong value; the values stay out, they may be secret."""
    found = []
    for problem in error.errors(include_input=False, include_context=False, include_url=False):
        name = "__".join(map(str, problem["loc"])).upper()
        found.append(failed(name, problem["msg"], f"Set {name} to what is allowed, or unset it. No service starts so."))
    return found


def _say_source(local: Mapping[str, str]) -> str:
    return f"local stack, {connection_file()}" if local else "environment"


def _judge_source(local: Mapping[str, str]) -> Finding:
    if local:
        return ok(_CHECK, f"read from {connection_file()}, where a local stack runs, and from the environment")
    if _DATABASE_URL in os.environ:
        return ok(_CHECK, "read from the environment")
    return warning(
        _CHECK,
        f"{_DATABASE_URL} is not set, and no local stack runs: defaults are used",
        f"Set {_DATABASE_URL} and the others as the services have them; or start a local stack, `make run`, and run "
        "this in the same folder, with the same LIKENESS_HOME.",
    )


def _nested(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return variables as groups of settings: `S3__BUCKET` becomes the bucket in `s3`."""
    groups: dict[str, Any] = {}
    for name, value in variables.items():
        group, _, key = name.lower().partition("__")
        if key:
            groups.setdefault(group, {})[key] = value
    if "path" in groups.get("qdrant", {}):
        groups["qdrant"]["url"] = None  # as the local stack itself does not heed QDRANT__URL
    return groups
