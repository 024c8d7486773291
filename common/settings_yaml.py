"""The YAML file with settings: its values are read as text, as those of the environment are.

So YAML's own ideas of `no`, `13:00`, `0123` or `1e6` play no part: each setting knows how its text is to be read.
"""

import re
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

_RESOLVED: Final = frozenset({"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"})
"""What is not text, quoted or not: nothing (`~`, `null` or empty), and `<<`."""
_QUOTED: Final = re.compile(r"""(?<= )(['"])(?!<|.\1).+""", re.DOTALL)
"""Where a message quotes more of the file than a character: a password that begins with `*` is an alias to YAML."""


class _Texts(yaml.SafeLoader):
    """Builds mappings, lists and texts alone, and takes no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [resolver for resolver in resolvers if resolver[0] in _RESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, times in Counter(keys).items():
            if times > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what the file says; nothing, if it is empty.

    Raises:
        OSError: it can't be read.
        ValueError: it is no YAML, or no mapping of groups; the message quotes no value.
    """
    with path.open(encoding="utf-8") as stream:
        try:
            content = yaml.load(stream, Loader=_Texts)  # noqa: S506 - a safe one
        except yaml.MarkedYAMLError as error:
            place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ValueError(f"is no valid YAML{place}: {_QUOTED.sub('…', str(error.problem))}") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise ValueError("is no valid YAML: it has characters that no text has") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError("has to be a mapping from groups to their settings")  # noqa: TRY004 - it is the file's fault
    return content
