"""The connection pool and the one way to a transaction; the driver's errors become ours here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from common.errors import DatabaseUnavailable
from common.settings import DatabaseSettings

_UNAVAILABLE = (
    OSError,  # refused, reset, unresolvable; TimeoutError too
    asyncpg.ConnectionDoesNotExistError,  # the connection was closed under us
    asyncpg.PostgresConnectionError,
    asyncpg.TransactionRollbackError,  # a deadlock, or a conflict: try again
    asyncpg.InvalidAuthorizationSpecificationError,  # it refuses us …
    asyncpg.InvalidCatalogNameError,  # … or the database is being restored
    asyncpg.CannotConnectNowError,  # starting up
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.OperatorInterventionError,  # shutting down, statement cancelled
)


class Database:
    """PostgreSQL: transactions on a bounded pool, every call under a deadline."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._engine = create_async_engine(
            settings.url.get_secret_value(),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_s,
            pool_pre_ping=True,
            connect_args={
                "timeout": settings.connect_timeout_s,
                "command_timeout": settings.command_timeout_s,
                "server_settings": {"application_name": "likeness"},
            },
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction; leaving commits it, an exception rolls it back.

        Raises:
            DatabaseUnavailable: no connection, no answer in time, or the server is going away.
        """
        try:
            async with self._sessions.begin() as session:
                yield session
        except DBAPIError as error:
            if error.connection_invalidated or _is_outage(error):
                raise DatabaseUnavailable(f"PostgreSQL: {type(error.orig).__name__}") from error
            raise
        except (*_UNAVAILABLE, PoolTimeout) as error:
            raise DatabaseUnavailable(f"PostgreSQL: {error or type(error).__name__}") from error

    async def ping(self) -> None:
        """Make sure that a query is answered, or raise `DatabaseUnavailable`."""
        async with self.begin() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _is_outage(error: DBAPIError) -> bool:
    cause: BaseException | None = error.orig
    while cause is not None:
        if isinstance(cause, _UNAVAILABLE):
            return True
        cause = cause.__cause__
    return False
