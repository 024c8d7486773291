"""Import every module of the packages in a folder: run by an image's Python, it needs nothing but what is there.

Arguments: the folder, then the names of modules that need not be importable. Prints what is amiss, a line each.
"""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

_ABSENT = {"api": ("torch", "qdrant_edge"), "worker": ("torch", "qdrant_edge"), "embedder": ("qdrant_edge",)}


def main(folder: Path, *exempt: str) -> int:
    """Return the exit status."""
    problems = []
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    for path in sorted(path for package in packages for path in (folder / package).rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        if name in exempt or name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - it is reported
            problems.append(f"{name} can't be imported: {type(error).__name__}: {error}")
    for service in packages & _ABSENT.keys():
        found = (name for name in _ABSENT[service] if importlib.util.find_spec(name))
        problems += [f"{name} is there, and the {service} needs none" for name in found]
    print("\n".join(problems))  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # libraries that are deprecated in parts are all imported here
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
