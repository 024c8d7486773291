"""Why PostgreSQL does not let us in, though its port takes connections."""

from collections.abc import Iterator
from shlex import quote
from typing import Final

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from common.errors import ConfigurationError, DatabaseUnavailable
from worker.doctor.findings import Finding, failed, not_checked, ok

SETTING: Final = "DATABASE__URL"
PORT: Final = 5432

CREDENTIALS: Final = "credentials"
DATABASE: Final = "database"
CONNECTIONS: Final = "connections"

MORE_CONNECTIONS: Final = (
    "Raise max_connections in postgresql.conf and restart PostgreSQL, or lower DATABASE__POOL_SIZE: each api and "
    "worker process opens up to that many."
)
"""What to do where connections are short."""


def judge_refusal(error: Exception, address: URL) -> Iterator[Finding]:
    """Say why there is no connection, though the port takes them."""
    if isinstance(error, ConfigurationError):
        yield failed(CREDENTIALS, f"{SETTING} can't be used", f"{error}.")
        return
    cause = _find_cause(error)
    at = f"-h {quote(address.host or '')} -p {address.port or PORT} -U postgres"
    user, name = quote(address.username or ""), quote(address.database or "")
    match cause:
        case asyncpg.InvalidCatalogNameError():
            yield ok(CREDENTIALS, f"user {address.username} is let in")
            yield failed(
                DATABASE,
                f"there is no database {address.database}",
                f"`createdb {at} -O {user} {name}`, then `likeness migrate`; or correct the name in {SETTING}.",
            )
        case asyncpg.InvalidPasswordError():
            yield failed(
                CREDENTIALS,
                f"the password of user {address.username} is wrong, or there is no such user",
                f"Correct {SETTING}, special characters percent-encoded; or set the password: "
                f"`psql {at} -c '\\password {user}'`.",
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            yield failed(
                CREDENTIALS,
                f"PostgreSQL turns user {address.username} away: {cause}",
                f"`createuser {at} --pwprompt {user}` makes the user. If pg_hba.conf is what is meant: add a line for "
                "this machine, and reload PostgreSQL.",
            )
        case asyncpg.TooManyConnectionsError():
            yield not_checked(CREDENTIALS, "no connection is free")
            yield failed(CONNECTIONS, f"no connection is free: {cause}", MORE_CONNECTIONS)
        case asyncpg.CannotConnectNowError():
            yield failed(CREDENTIALS, f"PostgreSQL is starting or stopping: {cause}", "Wait a moment, and look again.")
        case _:
            yield failed(
                CREDENTIALS,
                f"no connection: {reason(error)}",
                f"Look at PostgreSQL's log, and whether it is PostgreSQL that listens at the port in {SETTING}.",
            )


def _find_cause(error: BaseException | None) -> BaseException | None:
    """Return the driver's own error, which SQLAlchemy's and ours wrap."""
    while error is not None and not isinstance(error, (asyncpg.PostgresError, OSError)):
        error = error.orig if isinstance(error, DBAPIError) else error.__cause__
    return error


def reason(error: Exception) -> str:
    """Return the driver's words, if it has some for people."""
    cause = _find_cause(error) or error
    return str(cause) if isinstance(cause, (asyncpg.PostgresError, DatabaseUnavailable)) else type(cause).__name__
