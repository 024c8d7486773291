"""What is made of what servers say of themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import make_url

from common.db.models import EmbeddingModel
from common.embedding import Readiness
from common.readiness import Dependency, Ready
from common.settings import DatabaseSettings, RedisSettings
from worker.doctor import api, embedder, postgresql, qdrant, redis
from worker.doctor.clock import judge_clock
from worker.doctor.disk import judge_space
from worker.doctor.findings import Outcome
from worker.doctor.line import judge_expiry, show_url
from worker.doctor.postgresql import Facts
from worker.doctor.settings import Limits

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED

FACTS = Facts(version="18.4", major=18, standby=False, read_only=False, most=97, used=10)
ADDRESS = make_url("postgresql+asyncpg://keeper:hush@db:5433/pictures")
REDIS = urlsplit("redis://:hush@cache:6380/0")
LIMITS = Limits(min_free_bytes=1000, max_clock_skew_s=5)


def test_postgresql_of_14_and_later_will_do() -> None:
    assert postgresql.judge_version(replace(FACTS, major=14)).outcome is OK
    assert postgresql.judge_version(replace(FACTS, version="13.9", major=13)).outcome is FAILED


def test_a_standby_and_a_server_that_only_reads_are_no_truth() -> None:
    assert postgresql.judge_writable(FACTS, ADDRESS).outcome is OK
    assert "primary" in (postgresql.judge_writable(replace(FACTS, standby=True), ADDRESS).remedy or "")
    reading = postgresql.judge_writable(replace(FACTS, read_only=True), ADDRESS)
    assert 'ALTER DATABASE "pictures" RESET' in (reading.remedy or "")


def test_one_more_process_has_to_find_its_connections() -> None:
    assert postgresql.judge_connections(FACTS, 10).outcome is OK
    assert postgresql.judge_connections(replace(FACTS, used=88), 10).outcome is WARNING


def test_privileges_that_are_missing_are_granted_to_the_user() -> None:
    assert postgresql.judge_privileges([], ADDRESS).outcome is OK
    missing = postgresql.judge_privileges(["images"], ADDRESS)
    assert ("images" in missing.seen, 'TO "keeper"' in (missing.remedy or "")) == (True, True)


async def test_an_address_that_is_none_is_not_shown() -> None:
    examination = postgresql.examination(DatabaseSettings.model_construct(url=SecretStr("hush")), LIMITS)
    found = [finding async for finding in examination.findings()]
    assert (examination.target, [finding.outcome for finding in found]) == ("", [FAILED])
    assert "hush" not in repr(found)


@pytest.mark.parametrize("url", ["redis://:a/hush@cache:6379/0", "redis://:1/hush@cache:6379/0", "redis://:1?hush@c/0"])
async def test_a_password_of_redis_that_is_taken_for_host_and_port_is_not_shown(url: str) -> None:
    examination = redis.examination(RedisSettings.model_construct(url=SecretStr(url)), LIMITS)
    found = [finding async for finding in examination.findings()]
    assert [finding.outcome for finding in found] == [FAILED]
    assert "hush" not in repr(found) + examination.target


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (AuthenticationError("WRONGPASS"), "the password is wrong"),
        (AuthenticationError("AUTH called without any password configured"), "a password is given, and Redis has none"),
        (NoPermissionError("no permission"), "no permission"),
        (BusyLoadingError("loading"), "Redis is loading its data"),
        (RedisConnectionError("reset"), "the connection breaks at the first word"),
        (ResponseError("DB index is out of range"), "refused: DB index is out of range"),
        (RedisError("what"), "no answer that Redis would give: RedisError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_refusals_of_redis(error: Exception, seen: str) -> None:
    finding = redis.judge_refusal(error, REDIS)
    assert (finding.outcome, finding.seen, bool(finding.remedy)) == (FAILED, seen, True)


def test_redis_without_a_password_that_wants_one() -> None:
    finding = redis.judge_refusal(AuthenticationError("Authentication required."), urlsplit("redis://cache:6379/0"))
    assert finding.seen == "a password is asked for, and none is given"


@pytest.mark.parametrize(
    ("used", "most", "outcome"), [(1, 0, OK), (79, 100, OK), (80, 100, WARNING), (100, 100, WARNING)]
)
def test_memory_of_redis(used: int, most: int, outcome: Outcome) -> None:
    assert redis.judge_memory({"used_memory": used, "maxmemory": most}, REDIS).outcome is outcome


def test_versions_of_redis_and_qdrant() -> None:
    assert [redis.judge_version(version).outcome for version in ("7.4.1", "6.2.14", "6.0.9")] == [OK, OK, WARNING]
    assert [qdrant.judge_version(version).outcome for version in ("1.19.0", "1.13.6", "1.9.2")] == [OK, OK, FAILED]


def _collection(**changes: Any) -> dict[str, Any]:
    described = {"config": {"params": {"vectors": {"size": 4, "distance": "Cosine"}}}, "status": "green"}
    return {**described, "payload_schema": {"owner_id": {}}, **changes}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, OK),
        ({"status": "yellow"}, OK),
        ({"status": "grey"}, WARNING),
        ({"status": "red"}, FAILED),
        ({"payload_schema": {}}, FAILED),
        ({"config": {"params": {"vectors": {"size": 4, "distance": "Dot"}}}}, FAILED),
        ({"config": {"params": {"vectors": {"image": {"size": 4, "distance": "Cosine"}}}}}, FAILED),
    ],
    ids=["green", "yellow", "grey", "red", "no index", "another distance", "named vectors"],
)
def test_collections(changes: dict[str, Any], outcome: Outcome) -> None:
    model = EmbeddingModel(
        name="ViT", pretrained="tests", dim=4, preprocess_version=1, state="active", collection="vit"
    )
    finding = qdrant.judge_collection(model, _collection(**changes), ["owner_id"])
    assert (finding.outcome, bool(finding.remedy)) == (outcome, outcome is not OK)


def test_keys_of_qdrant() -> None:
    assert [qdrant.judge_key(status, given=False).outcome for status in (200, 401, 403, 500)] == [OK, *[FAILED] * 3]
    assert "none is given" in qdrant.judge_key(401, given=False).seen
    assert "QDRANT__URL" in (qdrant.judge_key(404, given=False).remedy or "")


def test_an_embedder_that_is_not_ready() -> None:
    starting = embedder.judge_readiness(Readiness(status="starting", detail="downloading weights"))
    broken = embedder.judge_readiness(Readiness(status="failed", detail="no such model"))
    assert [starting.outcome, broken.outcome] == [FAILED, FAILED]
    assert ("downloading weights" in starting.seen, "no such model" in broken.seen) == (True, True)


def test_what_the_api_lacks_is_named() -> None:
    lacking = [Dependency(name="worker", ok=False, needed=False, detail="it is starting")]
    assert api.judge_readiness(Ready(ready=True, dependencies=[])).outcome is OK
    assert api.judge_readiness(Ready(ready=True, dependencies=lacking)).outcome is WARNING
    finding = api.judge_readiness(Ready(ready=False, dependencies=lacking))
    assert (finding.outcome, finding.seen) == (FAILED, "worker: it is starting")


@pytest.mark.parametrize(
    ("seconds", "outcome", "seen"),
    [
        (0.5, OK, "within a second"),
        (-0.5, OK, "within a second"),
        (4, OK, "3.0 s ahead of"),
        (-6, WARNING, "6.0 s behind"),
        (62, FAILED, "61.0 s ahead of"),
        (-61, FAILED, "61.0 s behind"),
    ],
)
def test_the_way_of_an_answer_counts_for_no_difference_of_clocks(seconds: float, outcome: Outcome, seen: str) -> None:
    sent = datetime(2026, 5, 1, tzinfo=UTC)
    theirs, answered = sent + timedelta(seconds=seconds), sent + timedelta(seconds=1)
    finding = judge_clock(theirs, sent, answered, timedelta(seconds=5), timedelta(minutes=1))
    assert (finding.outcome, seen in finding.seen) == (outcome, True)


@pytest.mark.parametrize(
    ("free", "files", "outcome"), [(1000, None, OK), (999, None, FAILED), (1000, 10_000, OK), (1000, 3, FAILED)]
)
def test_room_is_a_matter_of_bytes_and_of_files(free: int, files: int | None, outcome: Outcome) -> None:
    assert judge_space(Path("/data"), free, files, LIMITS).outcome is outcome


def test_certificates_are_renewed_in_time() -> None:
    day_s = 86_400
    assert [judge_expiry(days * day_s, "host").outcome for days in (90, 14, 13.9)] == [OK, OK, WARNING]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:9000", "http://host:9000"),
        ("https://user:hush@host:1/hush?hush#hush", "https://host:1"),
        ("https://[::1]:80", "https://::1:80"),
        ("http://host:hush", "http://host"),
        ("hush", "://"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert show_url(url) == shown
