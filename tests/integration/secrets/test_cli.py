"""What the command line says when things go wrong: no password is among it."""

import asyncio
import os
import sys
from urllib.parse import quote

import pytest

from tests.fixtures.cli import Run
from tests.integration.secrets.conftest import MARK, SECRET, USER, AssertDiscreet, execute, with_user

MIGRATE = "from worker.cli import app; app()"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (f"postgresql+asyncpg://{USER}:{quote(SECRET, safe='')}@127.0.0.1:1/nowhere", 3),
        (f"postgresql+asyncpg://{USER}:{SECRET}@127.0.0.1:1/nowhere", 2),
        (f"postgresql+asyncpg://{USER}:a@127.0.0.1:{MARK}/nowhere", 2),
        (f"{MARK}://", 2),
        (SECRET, 2),
    ],
    ids=["refused", "not-encoded", "no-port", "no-dialect", "no-address"],
)
async def test_an_address_of_postgresql_that_does_not_work(
    run: Run, assert_discreet: AssertDiscreet, url: str, status: int
) -> None:
    for command in ("status", "migrate"):
        ran = await run(command, DATABASE__URL=url)
        assert ran.status == status
        assert_discreet(ran.out + ran.err)
    assert_discreet((await run("doctor", "--only", "postgresql", DATABASE__URL=url)).out)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (f"redis://:{quote(SECRET, safe='')}@127.0.0.1:1/0", 0),
        (f"redis://:{SECRET}@127.0.0.1:1/0", 2),
        (f"redis://:a@127.0.0.1:{MARK}/0", 2),
        (SECRET, 2),
    ],
    ids=["refused", "not-encoded", "no-port", "no-address"],
)
async def test_an_address_of_redis_that_does_not_work(
    run: Run, assert_discreet: AssertDiscreet, url: str, status: int
) -> None:
    ran = await run("status", REDIS__URL=url)
    assert ran.status == status
    assert_discreet(ran.out + ran.err)
    assert_discreet((await run("doctor", "--only", "redis", REDIS__URL=url)).out)


async def test_a_wrong_password(run: Run, guarded_database: str, assert_discreet: AssertDiscreet) -> None:
    ran = await run("status", DATABASE__URL=with_user(guarded_database, f"{SECRET}!"))
    assert ran.status == 3
    assert "InvalidPasswordError" in ran.err
    assert_discreet(ran.out + ran.err)


async def test_an_error_nobody_expected(
    guarded_database: str, database_url: str, assert_discreet: AssertDiscreet
) -> None:
    await execute(database_url, "DELETE FROM alembic_version")  # so the tables are there, and none is expected
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MIGRATE, "migrate"),
        env={**os.environ, "DATABASE__URL": guarded_database},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "Traceback" in output
    assert_discreet(output)
