"""Write `.env` for `compose.yaml`, with a secret of its own for every store: `make secrets`. Needs Python alone."""

import os
import secrets
import sys
from pathlib import Path

_HEADER = """\
# Secrets and choices of this server's Likeness, for compose.yaml. Keep a copy in a safe place: what is in the volumes
# opens with these secrets and no others.

# minio or seaweedfs, and cpu or gpu
COMPOSE_PROFILES=minio,cpu
COMPOSE_PROJECT_NAME=likeness

"""


def write(path: Path) -> None:
    """Write new secrets to `path`, for its owner's eyes only.

    Raises:
        FileExistsError: there is one already; it stays as it is, whoever else is writing it at this moment.
        OSError: it can't be written; nothing is left of it.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w") as content:
            content.write(_HEADER + "".join(f"{name}={value}\n" for name, value in _new().items()))
            content.flush()
            os.fsync(content.fileno())
    except BaseException:
        path.unlink()
        raise


def _new() -> dict[str, str]:
    # Hexadecimal, so that they need no quoting, be it in a URL or in a configuration file.
    return {
        "POSTGRES_ADMIN_PASSWORD": secrets.token_hex(24),
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "QDRANT_API_KEY": secrets.token_hex(24),
        "S3_ADMIN_ACCESS_KEY": secrets.token_hex(10),
        "S3_ADMIN_SECRET_KEY": secrets.token_hex(20),  # MinIO's longest is 40 characters
        "S3_ACCESS_KEY": secrets.token_hex(10),
        "S3_SECRET_KEY": secrets.token_hex(20),
    }


def _lacking(path: Path) -> str:
    """Return what is to be done where the file has not all that `compose.yaml` asks for, of other settings, say."""
    there = {line.partition("=")[0].strip() for line in path.read_text().splitlines()}
    missing = [name for name in _new() if name not in there]
    if not missing:
        return ""
    return f" It lacks {', '.join(missing)}: move it away, make secrets, and add its lines to the new one."


def main(path: Path) -> int:
    """Write the file, say so, and return the exit status."""
    try:
        write(path)
    except FileExistsError:
        print(f"{path} is there already, and stays as it is.{_lacking(path)}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"{path} can't be written: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return 1
    print(f"Wrote {path} with new secrets. Keep a copy in a safe place.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:] or [".env"])))
