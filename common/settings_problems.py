"""What is wrong with settings, in words for the operator: the setting's name, the problem, and what is allowed."""

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from common.errors import SettingsInvalid
from common.settings_reference import Variable, variables
from common.settings_sources import Reading

_OURS: Final = "Value error, "
_INPUT: Final = "Input "
_CHOICES: Final = frozenset({"literal_error", "enum"})
"""What these say names what is allowed."""
_GROUPS: Final = frozenset({"model_type", "model_attributes_type"})
_NO_GROUP: Final = "has to be a group of settings, each of which has a name of its own"


def invalid(problems: Sequence[str]) -> SettingsInvalid:
    """Return the error that tells them all."""
    return SettingsInvalid("\n  ".join(["Wrong settings:", *problems]), problems=problems)


def explain(error: ValidationError, settings_cls: type[BaseSettings], reading: Reading) -> Iterator[str]:
    """Return a line for each wrong value. The values stay out: they may be secret."""
    found = {".".join(variable.path): variable for variable in variables(settings_cls)}
    for problem in error.errors(include_input=False, include_context=False, include_url=False):
        group, *below = map(str, problem["loc"])
        variable = found.get(".".join([group, *below[:1]]))
        words = problem["msg"].removeprefix(_OURS).removeprefix(_INPUT)
        if variable is None:
            yield f"{group.upper()}: {_NO_GROUP if problem['type'] in _GROUPS else words}"
            continue
        name = reading.spelled.get(variable.path, variable.name)
        inside = f" at {'.'.join(below[1:])}" if below[1:] and not variable.secret else ""
        allowed = "" if problem["type"] in _CHOICES else _allowed(variable)
        yield f"{name}{inside}: {words}{allowed}"


def _allowed(variable: Variable) -> str:
    if variable.secret:
        return ""
    return f"; allowed: {variable.kind}{f', {variable.allowed}' if variable.allowed else ''}".replace("`", "")
