"""The role and the database that `DATABASE__URL` names. The role owns its database and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from common.errors import ConfigurationError, DatabaseUnavailable
from common.settings import DatabaseSettings

_BROKEN_OFF = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, OSError)  # TimeoutError too
_ONE_AT_A_TIME = 0x6C696B65  # an advisory lock of the server's: two of these may run at once


async def ensure_database(settings: DatabaseSettings, admin: SecretStr) -> bool:
    """Create the role and the database where they are missing, and set the role's password; tell if there was need.

    Raises:
        ConfigurationError: an address is none, or names no user or no database; or the administrator is refused, or
            may not do this.
        DatabaseUnavailable: the server can't be reached, or does not get done in time.
    """
    wanted, superuser = _parse(settings.url, "DATABASE__URL"), _parse(admin, "BOOTSTRAP__DATABASE_URL")
    if await _lets_in(wanted, settings.connect_timeout_s):
        return False
    if not await _lets_in(superuser, settings.connect_timeout_s):
        raise ConfigurationError(
            f"PostgreSQL refuses {superuser.username}, whom BOOTSTRAP__DATABASE_URL names: the password is the one "
            "that the server was set up with, whatever the settings say by now"
        )
    async with _connected(superuser, settings.connect_timeout_s) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _ONE_AT_A_TIME)
        exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", wanted.username)
        # The server puts the names into its commands itself: it knows how they are quoted.
        role = f"{'ALTER' if exists else 'CREATE'} ROLE %I LOGIN PASSWORD %L"
        await _run(connection, role, wanted.username, wanted.password)
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", wanted.database):
            await _run(connection, "CREATE DATABASE %I OWNER %I", wanted.database, wanted.username)
    if not await _lets_in(wanted, settings.connect_timeout_s):
        raise ConfigurationError(f"PostgreSQL still refuses {wanted.username} on {wanted.database}; its log says why")
    return True


def _parse(address: SecretStr, setting: str) -> URL:
    try:
        url = make_url(address.get_secret_value())
    except ArgumentError:
        raise ConfigurationError(f"{setting} is no address of a database") from None  # it would be quoted
    if not url.username or not url.database:
        raise ConfigurationError(f"{setting} has to name a user and a database")
    return url


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", command: str, *names: str | None) -> None:
    marks = ", ".join(f"${number + 2}::text" for number in range(len(names)))
    await connection.execute(await connection.fetchval(f"SELECT format($1, {marks})", command, *names))


async def _lets_in(url: URL, timeout_s: float) -> bool:
    try:
        async with _connected(url, timeout_s):
            return True
    except DatabaseUnavailable as error:
        if isinstance(
            error.__cause__, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError
        ):
            return False
        raise


@asynccontextmanager
async def _connected(url: URL, timeout_s: float) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    try:
        connection = await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            password=url.password,
            database=url.database,
            timeout=timeout_s,
            command_timeout=timeout_s,
        )
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError) as error:  # TimeoutError too
        raise DatabaseUnavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error
    try:
        yield connection
    except _BROKEN_OFF as error:
        raise DatabaseUnavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(f"PostgreSQL does not let {url.username} do this: {error}") from error
    finally:
        await asyncio.shield(connection.close(timeout=timeout_s))
