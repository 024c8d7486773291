"""The faults of dependencies and processes: each breaks something until it is told to stop, then makes it whole again.

Tests apply them one by one while uploads flow; the random run draws from them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import asyncpg
from redis.asyncio import Redis

from tests.faults.boundaries import BOUNDARIES
from tests.faults.processes import Process
from tests.faults.system import LEASE_S, System
from tests.fixtures.fault_proxy import FaultProxy

_AGAIN_S = 0.3
_DELAY_S = 0.2


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    name: str
    run: Callable[[System, asyncio.Event], Coroutine[Any, Any, None]]
    """Break it until the event, and return when it is whole."""
    long_s: float = 30
    """How long it lasts when time is no object."""
    shows: str | None = None
    """The error code by which attempts, or uploads, fail meanwhile; None if nothing has to fail."""
    spends_tries: bool = False
    """Whether images may lose a try: where a worker's silence is the fault, or what nobody can tell from silence."""


async def kill(name: str, system: System, over: asyncio.Event) -> None:
    """A process dies without a word and stays away."""
    process: Process[Any] = getattr(system, name)
    await process.kill()
    await over.wait()
    await process.start()


async def freeze(name: str, system: System, over: asyncio.Event) -> None:
    """A process takes connections and says nothing."""
    process: Process[Any] = getattr(system, name)
    process.pause()
    await over.wait()
    process.resume()


async def refuse(name: str, system: System, over: asyncio.Event) -> None:
    """A line takes no connections."""
    line: FaultProxy = getattr(system.lines, name)
    await line.refuse()
    await over.wait()
    await line.heal()


async def stall(name: str, system: System, over: asyncio.Event) -> None:
    """A line takes connections and passes nothing on."""
    line: FaultProxy = getattr(system.lines, name)
    line.stall()
    await over.wait()
    await line.heal()


async def delay(name: str, system: System, over: asyncio.Event) -> None:
    """A line is long."""
    line: FaultProxy = getattr(system.lines, name)
    line.delay(_DELAY_S)
    await over.wait()
    await line.heal()


async def flush_redis(system: System, over: asyncio.Event) -> None:
    """Redis forgets every hint, again and again."""
    async with Redis.from_url(system.stores.redis_url) as redis:
        while not over.is_set():
            await redis.flushall()
            await asyncio.sleep(_AGAIN_S)


async def restart_postgres(system: System, over: asyncio.Event) -> None:
    """PostgreSQL is stopped and started as by an upgrade, again and again."""
    while not over.is_set():
        await system.postgres.stop()
        await system.postgres.start()
        await asyncio.sleep(1)


async def kill_connections(system: System, over: asyncio.Event) -> None:
    """PostgreSQL ends every connection of ours, again and again."""
    connection = await asyncpg.connect(system.stores.database_url.replace("+asyncpg", ""))
    try:
        while not over.is_set():
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'likeness'"
            )
            await asyncio.sleep(_AGAIN_S)
    finally:
        await connection.close()


async def lose_commits(system: System, over: asyncio.Event) -> None:
    """Commits are done, but their answers do not arrive: whoever asked can't tell."""
    line = system.lines.database
    before = line.answers_lost
    while not over.is_set() or line.answers_lost == before:
        line.lose_answer(b"COMMIT")
        await asyncio.sleep(_AGAIN_S)


async def slow_embedder(system: System, over: asyncio.Event) -> None:
    """The embedder takes its time."""
    await system.answer("slow")
    await over.wait()
    await system.answer("right")


async def tear_upserts(system: System, over: asyncio.Event) -> None:
    """The vector store writes half of a batch and fails, again and again."""
    while not over.is_set():
        await system.script(system.vectors_url, torn_upserts=1)
        await asyncio.sleep(_AGAIN_S)
    await system.script(system.vectors_url, torn_upserts=0)


async def kill_worker(boundary: str, system: System, over: asyncio.Event) -> None:
    """A worker dies when it brings an image to the boundary, and stays away."""
    system.orders.give(boundary, "kill")
    worker = system.workers[await system.orders.taken(boundary, "kill")]
    await worker.wait()
    await over.wait()
    await worker.start()


async def freeze_worker(system: System, over: asyncio.Event) -> None:
    """A worker stands still past its lease, then goes on as if nothing had happened."""
    system.orders.give("embedded", "stop")
    number = await system.orders.taken("embedded", "stop")
    await asyncio.gather(over.wait(), asyncio.sleep(1.5 * LEASE_S))
    system.workers[number].resume()


async def move_clocks(system: System, over: asyncio.Event) -> None:
    """The workers' clocks jump, ten minutes away from the database's, one this way and one that."""
    for shift_s in cycle((600, -600)):
        system.shift_clock(0, shift_s)
        system.shift_clock(1, -shift_s)
        await asyncio.sleep(_AGAIN_S)
        if over.is_set():
            break
    for number in range(2):
        system.shift_clock(number, 0)


OUTAGES = (
    Fault("api killed", partial(kill, "api"), shows="ConnectError"),
    Fault("redis flushed", flush_redis),
    Fault("redis killed", partial(kill, "redis")),
    Fault("redis frozen", partial(freeze, "redis")),
    Fault("postgresql restarted", restart_postgres, shows="database_unavailable"),
    Fault("postgresql crashed", partial(kill, "postgres"), 10, "database_unavailable"),
    Fault("connections killed", kill_connections, spends_tries=True),
    Fault("commits unanswered", lose_commits, spends_tries=True),
    Fault("s3 down", partial(refuse, "storage"), shows="storage_unavailable"),
    Fault("s3 frozen", partial(stall, "storage"), shows="storage_unavailable"),
    Fault("s3 slow", partial(delay, "storage")),
    Fault("embedder down", partial(kill, "embedder"), 120, "embedder_unavailable"),
    Fault("embedder slow", slow_embedder),
    Fault("vector store down", partial(refuse, "vectors"), shows="vector_index_unavailable"),
    Fault("vector store frozen", partial(stall, "vectors"), shows="vector_index_unavailable"),
    Fault("vector store slow", partial(delay, "vectors")),
    Fault("upserts torn", tear_upserts, shows="vector_index_unavailable"),
    Fault("clocks off by 10 min", move_clocks),
)
"""What a system must bear while uploads flow."""

DEATHS = (
    *(Fault(f"worker killed: {name}", partial(kill_worker, name), spends_tries=True) for name in BOUNDARIES),
    Fault("worker frozen", freeze_worker, spends_tries=True),
)
"""What workers do; `test_workers.py` has tests of its own for that, the random run draws from them too."""
