"""`make configuration`: writes down what can be set, from the settings classes; `--check` says whether that is done.

For people in `docs/configuration.md`. For the services in `common/known_settings.py`: none of them can import all the
classes, and each has to tell a typo from what is another's.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.settings import ApiSettings
from common.settings import ServiceSettings
from common.settings_reference import Variable, variables
from deploy.cluster.settings import ClusterSettings, VectorProcessSettings
from embedder.settings import Settings as EmbedderServiceSettings
from worker.bootstrap.settings import BootstrapSettings
from worker.cli.settings import CliSettings
from worker.doctor.settings import DoctorSettings
from worker.settings import WorkerSettings
from worker.zero_shot.settings import Settings as ZeroShotSettings

SERVICES: Final[Mapping[str, Sequence[type[ServiceSettings]]]] = {
    "api": [ApiSettings],
    "worker": [WorkerSettings, ZeroShotSettings],
    "embedder": [EmbedderServiceSettings],
    "likeness": [CliSettings],
    "doctor": [DoctorSettings],
    "bootstrap": [BootstrapSettings],
    "cluster": [ClusterSettings, VectorProcessSettings],
}
"""Who reads what; `likeness` is the command line, two of whose commands read more, `cluster` is `make cluster`."""

_ROOT: Final = Path(__file__).parents[1]

_PREFACE: Final = """\
# Configuration

Written by `make configuration` from the settings classes. Change those, not this page.

Every setting has a default that suits one machine. Settings are read from three places, the first of which goes first:

1. **Environment variables**, under the names below.
2. **`.env`** in the working directory, line by line `NAME=value`. `LIKENESS_ENV_FILE`, an environment variable, names
   another file; empty, it means none. (Containers do not see the `.env` that Docker Compose reads: what to do there is
   in [operations.md](operations.md#start).)
3. **A YAML file** that `LIKENESS_CONFIG` names, in the environment or in `.env`. The part of a name before `__` is the
   group, the rest the key, in lower case:

   ```yaml
   upload:
     max_files: 20
   search:
     attributes:
       price: number
   ```

What a place sets replaces what a later one says, an object or a list as a whole. All services may share one `.env` and
one YAML file; each takes what it reads.

**Secrets from files.** A setting of the kind *secret* may be given by its name and `_FILE` instead: with
`S3__SECRET_KEY_FILE=/run/secrets/s3` (in YAML `secret_key_file`) the file's text is the value, without the line's end.
The value and the file in the same place are an error, as one of them would be a leftover. In two places the first goes
first, as ever: a value in the environment beats a file that `.env` names.

**What is wrong is told at once.** A service, and the command line, does not start with a wrong value, a file that can't
be read, or a name in one of the groups below that is no setting: it names every such setting, where it is, and what is
allowed, and never a value. `make run` tells it before anything is started. The exit status is 1, as of a service that
can't start for another reason; of the command line it is 2. Variables outside these groups, and those that a Qdrant
server reads (`QDRANT__SERVICE__…`), are none of its business; in the YAML file nothing else may be.

An empty value is nothing for a setting that may be nothing, and empty text for one that is text. In YAML, a key with
nothing behind it is not set. `make run` lays the addresses of its own stores over whatever is set.

Not settings, and so read from the environment alone: `LIKENESS_URL` and `LIKENESS_HOME` ([the command line](cli.md)),
`PORT` (`make run`), `PROMETHEUS_MULTIPROC_DIR` ([metrics](metrics.md)).
"""

_HEAD: Final = "| Setting | Kind | Allowed | Default | Read by | Meaning |\n| --- | --- | --- | --- | --- | --- |\n"

_KNOWN: Final = '''\
"""Every environment variable that is a setting of some service. Written by `make configuration`, not by hand.

A service can't import the classes of the others, but has to tell a typo from what is for its neighbours.
"""

from typing import Final

KNOWN: Final = frozenset(
    {
%s
    }
)
'''


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, and who reads it."""

    variable: Variable
    readers: tuple[str, ...]


def list_settings(services: Mapping[str, Sequence[type[ServiceSettings]]]) -> list[Setting]:
    """Return every setting once, by group, in the order in which the services have them.

    Raises:
        ValueError: two services read different things from one variable.
    """
    found: dict[str, Setting] = {}
    for service, variable in _read(services):
        first = found.setdefault(variable.name, Setting(variable, ()))
        if _meaning(first.variable) != _meaning(variable):
            raise ValueError(f"{variable.name} is not the same for {', '.join(first.readers)} and for {service}")
        found[variable.name] = Setting(first.variable, (*first.readers, service))
    groups = list(dict.fromkeys(setting.variable.path[0] for setting in found.values()))
    return sorted(found.values(), key=lambda setting: groups.index(setting.variable.path[0]))


def render_page(settings: Iterable[Setting]) -> str:
    """Return `docs/configuration.md`."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.variable.path[0], []).append(setting)
    return "\n".join([_PREFACE, *(_render_group(name, members) for name, members in groups.items())])


def render_known(settings: Iterable[Setting]) -> str:
    """Return `common/known_settings.py`."""
    names = sorted(name for setting in settings for name in setting.variable.names)
    return _KNOWN % "\n".join(f'        "{name}",' for name in names)


def _read(services: Mapping[str, Sequence[type[ServiceSettings]]]) -> Iterator[tuple[str, Variable]]:
    for service, classes in services.items():
        for settings in classes:
            for variable in variables(settings):
                yield service, variable


def _meaning(variable: Variable) -> tuple[object, ...]:
    return variable.kind, variable.allowed, variable.default, variable.description, variable.secret


def _render_group(name: str, settings: Sequence[Setting]) -> str:
    about = dict.fromkeys(" ".join((setting.variable.group.__doc__ or "").split()) for setting in settings)
    rows = "".join(f"| {' | '.join(_cells(setting))} |\n" for setting in settings)
    return f"## {name.upper()}\n\n" + "\n".join(about) + f"\n\n{_HEAD}{rows}"


def _cells(setting: Setting) -> Iterator[str]:
    variable = setting.variable
    default = "" if variable.default is None else f"`{variable.default}`"
    readers = ", ".join(setting.readers)
    for cell in (f"`{variable.name}`", variable.kind, variable.allowed, default, readers, variable.description):
        yield cell.replace("|", "\\|")


def main(arguments: Sequence[str] | None = None, root: Path = _ROOT) -> int:
    """Write both files, or with `--check` say which of them is not as it would be written; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.configuration")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if something is out of date")
    check = parser.parse_args(arguments).check
    settings = list_settings(SERVICES)
    status = 0
    for name, text in {
        "docs/configuration.md": render_page(settings),
        "common/known_settings.py": render_known(settings),
    }.items():
        path = root / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{name} is out of date: run `make configuration`\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
