"""Random credentials of one data folder's stores, made once and readable by their owner alone."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from deploy.local.errors import HomeUnusable


def _secret() -> str:
    return secrets.token_hex(24)


@dataclass(frozen=True)
class Credentials:
    """Passwords and keys of the stores; hexadecimal, so they need no quoting in a URL or a configuration file."""

    postgres_password: str = field(default_factory=_secret, repr=False)
    redis_password: str = field(default_factory=_secret, repr=False)
    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10), repr=False)
    s3_secret_key: str = field(default_factory=_secret, repr=False)


def load_or_create(path: Path) -> Credentials:
    """Return the credentials kept at `path`, made and written (mode 0600, durable) at the first call.

    Raises:
        HomeUnusable: the file is there but can't be read as credentials.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        credentials = Credentials()
        write_private(path, json.dumps(asdict(credentials), indent=2) + "\n")
        return credentials


def _read(path: Path) -> Credentials:
    try:
        kept = json.loads(path.read_text())
        values = {each.name: kept[each.name] for each in fields(Credentials)}
    except (ValueError, TypeError, KeyError) as error:
        raise HomeUnusable(f"{path} is damaged: restore it; the databases beside it open with nothing else") from error
    return Credentials(**values)


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` so that only its owner can read it and a crash leaves the old file or the new one."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
