"""The backup of `docs/operations.md`, taken and restored with the very commands that are written there."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.connection_file import FILE_NAME
from common.db.engine import Database
from common.db.migrate import upgrade
from common.settings import DatabaseSettings
from deploy.local.environment import main, tools_environment
from deploy.local.stores import Stores
from tests.fixtures.auditing import Collected
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import activate_model, count, load
from tests.fixtures.stores import empty_bucket
from worker.audit.report import Mismatch

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- tried: (.+?) -->\n```sh\n(.+?)```", re.DOTALL)
COMMANDS = dict(BLOCK.findall((ROOT / "docs/operations.md").read_text()))


async def follow(step: str, stores: Stores, database_url: str, bucket: str, folder: Path) -> None:
    """Do as the document says, as if a local stack with these stores ran."""
    home = folder / f"home-{bucket}"
    home.mkdir()
    services = stores.environment() | {"DATABASE__URL": database_url, "S3__BUCKET": bucket}
    (home / FILE_NAME).write_text(json.dumps(services))
    python = folder / ".venv"
    if not python.exists():
        python.symlink_to(sys.prefix)
    shell = await asyncio.create_subprocess_exec(
        "bash",
        *("-e", "-o", "pipefail", "-c", COMMANDS[step]),
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "RCLONE_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LIKENESS_HOME": str(home),
            "RCLONE_CONFIG": str(folder / "rclone.conf"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await shell.communicate()
    assert shell.returncode == 0, output.decode()
    assert b"drop cascades" not in output, "who restores is told nothing that sounds like damage"


@pytest.fixture
async def collected(stores: Stores, database: Database, tmp_path: Path) -> AsyncIterator[Collected]:
    """No images yet, on stores of the test's own."""
    async with empty_bucket(stores, "kept") as storage, unreliable_index(tmp_path / "kept") as index:
        yield Collected(database, storage, index, await activate_model(database))


async def test_a_backup_brings_everything_back(
    stores: Stores, collected: Collected, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    images = await collected.add(5, tags=["kept"], attributes={"price": 3})
    await follow("back up", stores, database_url, "kept", tmp_path)
    await collected.add()
    async with (
        empty_bucket(stores, "restored") as storage,
        unreliable_index(tmp_path / "restored") as index,
        opened(empty_database_url) as database,
    ):
        await asyncio.to_thread(upgrade, empty_database_url)  # as the new stack has done
        await follow("restore", stores, empty_database_url, "restored", tmp_path)
        report = await Collected(database, storage, index, collected.model).audit()
        rows = {image.id: await load(database, image.id) for image in images}
        assert await count(database, "images") == len(images), "what came after the backup is not in it"
    missing = {kind: {item.id for item in tally.items} for kind, tally in report.mismatches.items()}
    assert missing == {Mismatch.VECTOR_MISSING: {str(image.id) for image in images}}
    assert all((row.status, row.tags, row.attributes) == ("done", ["kept"], {"price": 3}) for row in rows.values())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=SecretStr(url)))
    try:
        yield database
    finally:
        await database.close()


def test_without_a_running_stack_there_is_nothing_to_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIKENESS_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="no local stack is running"):
        main()
    assert capsys.readouterr().out == ""


def test_what_is_special_in_a_password_reaches_the_tools() -> None:
    services = {
        "DATABASE__URL": "postgresql+asyncpg://lik%40eness:p%40ss%3A%2Fw'ord@127.0.0.1:5433/li",
        "S3__ENDPOINT": "http://127.0.0.1:9000",
        "S3__ACCESS_KEY": "key",
        "S3__SECRET_KEY": "se cret",
        "S3__BUCKET": "pictures",
    }
    words = tools_environment(services)
    assert (words["PGUSER"], words["PGPASSWORD"]) == ("lik@eness", "p@ss:/w'ord")
    assert (words["PGHOST"], words["PGPORT"], words["PGDATABASE"]) == ("127.0.0.1", "5433", "li")
