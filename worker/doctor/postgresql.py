"""PostgreSQL: who may come in, version, revision and privileges, its clock, and whether there is room for us."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from common.db import embedding_models
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.db.overview import find_revision
from common.db.revision import head_revision, known_revisions
from common.errors import LikenessError
from common.settings import DatabaseSettings
from worker.doctor.clock import CLOCK, judge_clock, now
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok, warning
from worker.doctor.line import REACHABLE, reach
from worker.doctor.postgresql_refusal import (
    CONNECTIONS,
    CREDENTIALS,
    DATABASE,
    MORE_CONNECTIONS,
    PORT,
    SETTING,
    judge_refusal,
    reason,
)
from worker.doctor.settings import Limits

OLDEST = 14
"""The release that has all we ask for; `bit_count` is the youngest of it."""

VERSION, WRITABLE, MIGRATIONS, PRIVILEGES = "version", "writable", "migrations", "privileges"
CHECKS = (REACHABLE, CREDENTIALS, DATABASE, VERSION, WRITABLE, CLOCK, CONNECTIONS, MIGRATIONS, PRIVILEGES)

_ANY = timedelta.max
"""Nothing of ours breaks by PostgreSQL's clock: it is the only one that counts."""

_FACTS = text(
    """
SELECT current_setting('server_version') AS version,
       CAST(current_setting('server_version_num') AS int) / 10000 AS major,
       pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       CAST(current_setting('max_connections') AS int)
           - CAST(current_setting('superuser_reserved_connections') AS int)
           - CAST(coalesce(current_setting('reserved_connections', true), '0') AS int) AS most,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS used"""
)
_FORBIDDEN = text(
    """
SELECT relname FROM pg_class
 WHERE relkind = 'r'
   AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('alembic_version'))
   AND relname <> 'alembic_version'
   AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
 ORDER BY relname"""
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What PostgreSQL says of itself."""

    version: str
    major: int
    standby: bool
    read_only: bool
    most: int
    """Connections that it takes from ordinary users."""
    used: int
    """Connections that there are beside ours."""


def examination(settings: DatabaseSettings, limits: Limits) -> Examination:
    """Return what there is to check."""
    try:
        address = make_url(settings.url.get_secret_value())
    except (ArgumentError, ValueError):
        return Examination("postgresql", "", CHECKS, _no_address, SETTING)
    where = f"{address.host or 'socket'}:{address.port or PORT}/{address.database or ''}"
    return Examination("postgresql", where, CHECKS, lambda: _examine(settings, address, limits), SETTING)


async def find_models(settings: DatabaseSettings) -> list[EmbeddingModel] | None:
    """Return the live models, the active one first; None: the database can't say, which is told as its own state."""
    try:
        async with AsyncExitStack() as stack:
            database = Database(settings.model_copy(update={"pool_size": 1}))
            stack.push_async_callback(database.close)
            return await embedding_models.list_live(await stack.enter_async_context(database.begin()))
    except (LikenessError, DBAPIError):
        return None


async def _no_address() -> Findings:
    yield failed(
        REACHABLE,
        f"{SETTING} is no address",
        f"{SETTING} should read postgresql+asyncpg://user:password@host/name, special characters in the password "
        "percent-encoded.",
    )


async def _examine(settings: DatabaseSettings, address: URL, limits: Limits) -> Findings:
    reached = await reach(address.host, address.port or PORT, SETTING) if address.host else ok(REACHABLE, "a socket")
    yield reached
    if is_failure(reached):
        return
    async with AsyncExitStack() as stack:
        try:
            database = Database(_impatient(settings, limits))
            stack.push_async_callback(database.close)
            session = await stack.enter_async_context(database.begin())
        except (LikenessError, DBAPIError) as error:
            for finding in judge_refusal(error, address):
                yield finding
            return
        yield ok(CREDENTIALS, f"user {address.username} is let in")
        yield ok(DATABASE, f"{address.database} exists")
        facts = Facts(**(await session.execute(_FACTS)).one()._asdict())
        yield judge_version(facts)
        yield judge_writable(facts, address)
        yield await _compare_clocks(session, limits)
        yield judge_connections(facts, settings.pool_size)
        async for finding in _examine_schema(session, address):
            yield finding


def _impatient(settings: DatabaseSettings, limits: Limits) -> DatabaseSettings:
    """Return settings by which nothing takes longer than the examination, its end included."""
    longest = limits.timeout_s
    return settings.model_copy(update={"pool_size": 1, "connect_timeout_s": longest, "command_timeout_s": longest})


async def _examine_schema(session: AsyncSession, address: URL) -> Findings:
    try:
        revision = await find_revision(session)
    except DBAPIError as error:
        yield failed(MIGRATIONS, f"the revision can't be read: {reason(error)}", _grant(address))
        return
    yield (judged := judge_revision(revision))
    if not is_failure(judged):
        yield judge_privileges(list(await session.scalars(_FORBIDDEN)), address)


async def _compare_clocks(session: AsyncSession, limits: Limits) -> Finding:
    sent = now()
    theirs = await session.scalar(text("SELECT clock_timestamp()"))
    answered = now()
    return judge_clock(theirs or answered, sent, answered, limits.max_clock_skew, _ANY)


def judge_version(facts: Facts) -> Finding:
    """Say whether the server is new enough."""
    if facts.major >= OLDEST:
        return ok(VERSION, facts.version)
    return failed(
        VERSION, facts.version, f"Upgrade PostgreSQL to {OLDEST} or later: `pg_upgrade`, or dump and restore."
    )


def judge_writable(facts: Facts, address: URL) -> Finding:
    """Say whether the server takes writes."""
    if facts.standby:
        return failed(WRITABLE, "it is a standby, which only reads", f"Name the primary in {SETTING}.")
    if facts.read_only:
        remedy = (
            f'`ALTER DATABASE "{address.database}" RESET default_transaction_read_only`, and '
            f'`ALTER ROLE "{address.username}" RESET default_transaction_read_only`; if it is set in postgresql.conf, '
            "take it out there."
        )
        return failed(WRITABLE, "transactions are read-only by default", remedy)
    return ok(WRITABLE, "takes writes")


def judge_connections(facts: Facts, pool_size: int) -> Finding:
    """Say whether one more process of ours finds the connections it may want."""
    seen = f"{facts.used} of {facts.most} in use; each process of ours opens up to {pool_size}"
    free = facts.most - facts.used
    return ok(CONNECTIONS, seen) if free >= pool_size else warning(CONNECTIONS, seen, MORE_CONNECTIONS)


def judge_revision(found: str | None) -> Finding:
    """Say whether the database is at the revision that this version needs."""
    needed = head_revision()
    if found == needed:
        return ok(MIGRATIONS, f"revision {found}")
    if found is None:
        return failed(MIGRATIONS, "no tables yet", "`likeness migrate`")
    if found in known_revisions():
        return failed(MIGRATIONS, f"revision {found}, this version needs {needed}", "`likeness migrate`")
    return failed(
        MIGRATIONS,
        f"revision {found}, which this version ({needed}) does not know: a later one migrated it",
        "Install the later version of Likeness again; or restore the backup that was made before it.",
    )


def judge_privileges(forbidden: list[str], address: URL) -> Finding:
    """Say whether the user may read and write all tables; `forbidden` are those it may not."""
    if not forbidden:
        return ok(PRIVILEGES, "reads and writes all tables")
    seen = f"user {address.username} may not read and write {', '.join(forbidden)}"
    return failed(PRIVILEGES, seen, _grant(address))


def _grant(address: URL) -> str:
    return (
        f"As the tables' owner: `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public "
        f'TO "{address.username}"`; or migrate and serve as the same user.'
    )
