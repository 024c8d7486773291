"""The connection pool and the one way to a transaction; the driver's errors become ours here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeVar

import asyncpg
from pydantic_core import from_json
from sqlalchemy import event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from common import tracing
from common.breakers import Breaker
from common.db.pool_metrics import PoolMeter
from common.errors import ConfigurationError, DatabaseUnavailable
from common.metrics import OTHER
from common.settings import DatabaseSettings

Connection = TypeVar("Connection")

_UNAVAILABLE = (
    OSError,  # refused, reset, unresolvable; TimeoutError too
    asyncpg.ConnectionDoesNotExistError,  # the connection was closed under us
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # … or is about to be, and the driver has taken in the server's last words
    asyncpg.TransactionRollbackError,  # a deadlock, or a conflict: try again
    asyncpg.InvalidAuthorizationSpecificationError,  # it refuses us …
    asyncpg.InvalidCatalogNameError,  # … or the database is being restored
    asyncpg.CannotConnectNowError,  # starting up
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.OperatorInterventionError,  # shutting down, statement cancelled
)

_ENDED = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
"""What a statement meets on a connection that was closed before it."""

_KEPT_SHARE = 4
"""One in so many of the pool's connections is kept at hand for single statements."""


class Database:
    """PostgreSQL: transactions on a bounded pool, every call under a deadline."""

    def __init__(self, settings: DatabaseSettings, breaker: Breaker | None = None, *, name: str = OTHER) -> None:
        """Create the pool; nothing is connected yet.

        Args:
            settings: where the server is, and how long calls may take.
            breaker: opens when no connection can be had. What fails later in a transaction (a deadlock, a slow
                statement) does not say that the server is down.
            name: of the pool in the metrics; a constant.

        Raises:
            ConfigurationError: the address is none.
        """
        self._connect_timeout_s = settings.connect_timeout_s
        self._breaker = breaker
        if breaker is not None:
            breaker.probe_with(self._probe)
        self._engine = _create_engine(settings)
        self._kept: list[PoolProxiedConnection] = []
        self._keeps = settings.pool_size // _KEPT_SHARE
        self._meter = PoolMeter(name, settings.pool_size)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = async_sessionmaker(reading, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction; leaving commits it, an exception rolls it back.

        Raises:
            DatabaseUnavailable: no connection, no answer in time, or the server is going away.
        """
        async with self._transaction(guarded=True) as session:
            yield session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Read without a transaction: every statement sees what was committed before it, in one round trip.

        Raises:
            DatabaseUnavailable: as `begin`.
        """
        with tracing.span("postgresql read", "client"), _Translated():
            async with self._readers() as session:
                await self._connected(session.connection)
                with self._meter.holding():
                    yield session

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Run one statement that reads, in the driver's own words (`$1`), past SQLAlchemy: for what has to be fast.

        Getting a connection from SQLAlchemy's pool takes longer than most such statements. So a few are kept at hand,
        and used without being checked; if one has died meanwhile, the statement is repeated.

        Raises:
            DatabaseUnavailable: as `begin`.
        """
        with tracing.span("postgresql read", "client"), _Translated():
            if self._breaker is not None:
                self._breaker.check()
            if self._kept:
                with suppress(*_ENDED):
                    return await self._fetch(self._kept.pop(), statement, values)
            return await self._fetch(await self._connected(self._engine.raw_connection), statement, values)

    async def ping(self) -> None:
        """Make sure that a query is answered, or raise `DatabaseUnavailable`."""
        async with self.begin() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        self._keeps = 0  # what is being read yet gives its connection back
        while self._kept:
            await _give_back(self._kept.pop())
        await self._engine.dispose()
        self._meter.closed()

    @asynccontextmanager
    async def _transaction(self, *, guarded: bool) -> AsyncIterator[AsyncSession]:
        with tracing.span("postgresql transaction", "client"), _Translated():
            async with self._sessions.begin() as session:
                await self._connected(session.connection, guarded=guarded)
                with self._meter.holding():
                    yield session

    async def _fetch(
        self, connection: PoolProxiedConnection, statement: str, values: Sequence[Any]
    ) -> list[asyncpg.Record]:
        driver: Any = connection.driver_connection
        try:
            with self._meter.holding():
                rows: list[asyncpg.Record] = await driver.fetch(statement, *values)
        except BaseException:
            await _give_back(connection)  # the pool checks it before anybody has it again
            raise
        pool: Any = self._engine.pool
        # Where all are in use, somebody may be waiting for one.
        if len(self._kept) < self._keeps and pool.checkedout() < pool.size():
            self._kept.append(connection)
        else:
            await _give_back(connection)
        return rows

    async def _connected(self, connect: Callable[[], Awaitable[Connection]], *, guarded: bool = True) -> Connection:
        guard = self._breaker.guard() if guarded and self._breaker is not None else nullcontext()
        with guard, _Translated(), self._meter.connecting():
            async with asyncio.timeout(self._connect_timeout_s):
                try:
                    return await connect()
                except InvalidRequestError as error:  # the pool's answer when new connections die at once, too
                    raise DatabaseUnavailable(f"PostgreSQL: {error}") from error

    async def _probe(self) -> None:
        async with self._transaction(guarded=False) as session:
            await session.execute(text("SELECT 1"))


def _create_engine(settings: DatabaseSettings) -> AsyncEngine:
    try:
        engine = create_async_engine(
            settings.url.get_secret_value(),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_s,
            json_deserializer=from_json,  # a sixth of the time of the standard library's
            hide_parameters=True,  # what people call their pictures is nobody's business who reads the log
            connect_args={
                "timeout": settings.connect_timeout_s,
                "command_timeout": settings.command_timeout_s,
                "server_settings": {"application_name": "likeness"},
            },
        )
    except (ArgumentError, InvalidRequestError, ImportError, ValueError):
        # The cause is left out: it quotes what can't be read, which may be a part of the password.
        raise ConfigurationError(
            "DATABASE__URL should read postgresql+asyncpg://user:password@host/name, special characters in the "
            "password percent-encoded"
        ) from None
    event.listen(engine.sync_engine, "checkout", _check_alive)
    return engine


async def _give_back(connection: PoolProxiedConnection) -> None:
    """Return a connection to the pool. It has no transaction to end: this waits for nothing, and can't be cancelled."""
    await greenlet_spawn(connection.close)


def _check_alive(connection: Any, *_: object) -> None:
    """Have the pool replace a connection that has died; as its own `pre_ping`, in one round trip instead of three."""
    try:
        connection.run_async(lambda driver: driver.execute("SELECT"))
    except (*_ENDED, asyncpg.PostgresError, OSError) as error:
        raise DisconnectionError("the connection is dead") from error


class _Translated:
    """Makes ours of the driver's errors inside; as a generator, it would take three times as long."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DBAPIError):
            if error.connection_invalidated or _is_outage(error):
                raise DatabaseUnavailable(f"PostgreSQL: {_reason(error)}") from error
        elif isinstance(error, (*_UNAVAILABLE, PoolTimeout)):
            raise DatabaseUnavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error


def _reason(error: DBAPIError) -> str:
    """Return the name of the driver's own error, which SQLAlchemy's wraps."""
    return type(getattr(error.orig, "__cause__", None) or error.orig).__name__


def _is_outage(error: DBAPIError) -> bool:
    cause: BaseException | None = error.orig
    while cause is not None:
        if isinstance(cause, _UNAVAILABLE):
            return True
        cause = cause.__cause__
    return False
