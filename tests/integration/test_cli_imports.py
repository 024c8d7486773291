"""The command line and images that have no bytes yet."""

from common.db import imports
from common.db.attempts import LEASE
from common.db.engine import Database
from tests.fixtures.cli import Run
from tests.fixtures.rows import load, new_import, record_import


async def test_inspect_shows_where_an_import_comes_from_but_no_secrets(run: Run, database: Database) -> None:
    image = await record_import(database, new_import("http://pictures.example/a.png?token=s3cret"))
    for ran in (await run("inspect", image.id), await run("inspect", image.id, "--json")):
        assert ran.status == 0
        assert "http://pictures.example/a.png" in ran.out
        assert "s3cret" not in ran.out


async def test_requeue_has_a_failed_download_tried_again(run: Run, database: Database) -> None:
    image = await record_import(database)
    async with database.begin() as session:
        owned = await imports.claim(session, LEASE)
        assert owned is not None
        await imports.fail(session, owned, "worker-a", "download_failed", "the server answered 404")
    ran = await run("requeue", "--code", "download_failed", "--json")
    assert (ran.status, ran.data["requeued"]) == (0, 1)
    row = await load(database, image.id)
    assert (row.status, row.error_code) == ("created", None)
    status = await run("status", "--json")
    assert status.data["counts"]["created"] == 1
