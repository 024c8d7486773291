"""Redis: who may come in, whether it keeps what it is given, and whether there is room."""

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from arq.connections import ArqRedis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common import jobs
from common.errors import ConfigurationError
from common.settings import RedisSettings
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, not_checked, ok, warning
from worker.doctor.line import CERTIFICATE, REACHABLE, examine_certificate, reach
from worker.doctor.settings import Limits

SETTING = "REDIS__URL"
OLDEST = (6, 2)
"""The release that the tests run on."""

CREDENTIALS, VERSION, WRITABLE, EVICTION, MEMORY = "credentials", "version", "writable", "eviction", "memory"
CHECKS = (CREDENTIALS, VERSION, WRITABLE, EVICTION, MEMORY)

_PORT = 6379
_TLS = "rediss"
_KEEPS_ALL = "noeviction"
_MUCH = 0.8
"""The share of its memory above which Redis is as good as full."""
_PROBE_S = 10
_SOCKET = ok(REACHABLE, "a socket")

Info = Mapping[str, Any]


def examination(settings: RedisSettings, limits: Limits) -> Examination:
    """Return what there is to check."""
    address = _parse(settings)
    where = f"{address.hostname or 'socket'}:{address.port or _PORT}" if address else ""
    secure = address is not None and address.scheme == _TLS
    checks = (REACHABLE, *([CERTIFICATE] if secure else []), *CHECKS)
    return Examination("redis", where, checks, lambda: _examine(settings, address, limits), SETTING)


def _parse(settings: RedisSettings) -> SplitResult | None:
    """Return the address, or None for one that is taken for another than it is meant to be."""
    address = urlsplit(settings.url.get_secret_value())
    try:
        number = address.port
    except ValueError:
        return None
    misread = "@" in address.path + address.query + address.fragment  # a password with a / or a ? in it
    return None if misread or number == 0 else address


async def _examine(settings: RedisSettings, address: SplitResult | None, limits: Limits) -> Findings:
    try:
        redis = jobs.create_redis(settings, socket_timeout_s=limits.timeout_s, retries=0)
    except ConfigurationError as error:
        yield failed(REACHABLE, f"{SETTING} is no address", f"{error}.")
        return
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        if address is None:
            yield failed(REACHABLE, f"{SETTING} is no address", "Percent-encode special characters in the password.")
            return
        reached = await reach(address.hostname, address.port or _PORT, SETTING) if address.hostname else _SOCKET
        yield reached
        if is_failure(reached):
            return
        if address.scheme == _TLS and address.hostname:
            trusted = ssl.create_default_context()
            certificate = await examine_certificate(address.hostname, address.port or _PORT, SETTING, trusted)
            yield certificate
            if is_failure(certificate):
                return
        try:
            info = await redis.info()
        except RedisTimeoutError as error:
            raise TimeoutError from error
        except (RedisError, OSError) as error:
            yield judge_refusal(error, address)
            return
        yield ok(CREDENTIALS, "let in")
        yield judge_version(str(info["redis_version"]))
        yield await _write(redis, info, address)
        yield judge_eviction(info, address)
        yield judge_memory(info, address)


async def _write(redis: ArqRedis, info: Info, address: SplitResult) -> Finding:
    if info.get("role") == "slave":
        return failed(WRITABLE, "it is a replica, which only reads", f"Name the primary in {SETTING}.")
    key = f"likeness:doctor:{uuid4()}"
    try:
        await redis.set(key, "1", ex=_PROBE_S)
        await redis.delete(key)
    except NoPermissionError as error:
        remedy = f"As Redis's administrator: `ACL SETUSER {address.username or 'default'} ~* &* +@all`."
        return failed(WRITABLE, str(error), remedy)
    except RedisError as error:
        return failed(WRITABLE, str(error), "Redis's log says more: its memory or its disk is full, most likely.")
    return ok(WRITABLE, "takes writes")


def judge_refusal(error: Exception, address: SplitResult) -> Finding:
    """Say why Redis does not answer, though its port takes connections."""
    if isinstance(error, AuthenticationError):
        given = "the password is wrong" if address.password else "a password is asked for, and none is given"
        if "without any password configured" in str(error):
            given = "a password is given, and Redis has none"
        return failed(
            CREDENTIALS,
            given,
            f"Correct {SETTING}, redis://:password@host:port/0: the password is `requirepass` in redis.conf.",
        )
    if isinstance(error, NoPermissionError):
        return failed(
            CREDENTIALS, str(error), f"As Redis's administrator: `ACL SETUSER {address.username or 'default'} +info`."
        )
    if isinstance(error, BusyLoadingError):
        return failed(CREDENTIALS, "Redis is loading its data", "Wait a moment, and look again.")
    if isinstance(error, RedisConnectionError):
        remedy = f"Look whether it is Redis that listens at the port in {SETTING}; with TLS it reads rediss://."
        return failed(CREDENTIALS, "the connection breaks at the first word", remedy)
    if isinstance(error, ResponseError):
        remedy = f"Correct the number of the database at the end of {SETTING}: /0."
        return failed(CREDENTIALS, f"refused: {error}", remedy)
    remedy = f"Look whether it is Redis that listens at the port in {SETTING}."
    return failed(CREDENTIALS, f"no answer that Redis would give: {type(error).__name__}", remedy)


def judge_version(version: str) -> Finding:
    """Say whether the server is as new as what we are tested with."""
    oldest = ".".join(map(str, OLDEST))
    if tuple(int(part) for part in version.split(".")[:2]) >= OLDEST:
        return ok(VERSION, version)
    return warning(VERSION, f"{version}; tested is {oldest} and later", f"Upgrade Redis to {oldest} or later.")


def judge_eviction(info: Info, address: SplitResult) -> Finding:
    """Say whether Redis forgets hints to make room."""
    policy = info.get("maxmemory_policy")
    if policy is None:
        return not_checked(EVICTION, "the server does not tell")
    if policy == _KEEPS_ALL:
        return ok(EVICTION, policy)
    return failed(
        EVICTION,
        f"{policy}: short of memory, Redis drops jobs, and images wait for the next sweep",
        f"`{_cli(address)} CONFIG SET maxmemory-policy {_KEEPS_ALL}`, and the same in redis.conf: "
        f"`maxmemory-policy {_KEEPS_ALL}`.",
    )


def judge_memory(info: Info, address: SplitResult) -> Finding:
    """Say whether there is room."""
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if not most:
        return ok(MEMORY, f"{used / 1e6:.0f} MB in use, no limit")
    seen = f"{used / 1e6:.0f} of {most / 1e6:.0f} MB in use"
    if used < _MUCH * most:
        return ok(MEMORY, seen)
    return warning(
        MEMORY,
        seen,
        f"`{_cli(address)} CONFIG SET maxmemory {2 * most}`, and the same in redis.conf; or keep fewer vectors there: "
        "CACHE__SHARED_VECTORS of the api.",
    )


def _cli(address: SplitResult) -> str:
    login = f" --user {address.username}" if address.username else ""
    return (
        f"redis-cli -h {address.hostname} -p {address.port or _PORT}{login}{' --askpass' if address.password else ''}"
    )
