"""`likeness inspect`."""

from uuid import uuid4

from common.db.engine import Database
from tests.fixtures.cli import Run
from tests.integration.cli.conftest import add_images


async def test_inspect_shows_row_and_history(run: Run, database: Database) -> None:
    (image_id,) = await add_images(database, 1)
    ran = await run("inspect", image_id, "--json")
    assert (ran.data["id"], ran.data["status"], ran.data["error_code"]) == (str(image_id), "error", "image_corrupt")
    assert [event["to_status"] for event in ran.data["events"]] == ["created", "pending"]
    shown = await run("inspect", image_id)
    assert "[red]0.jpg" in shown.out
    assert "image_corrupt" in shown.out


async def test_inspect_an_unknown_image_is_1_and_a_malformed_id_2(run: Run) -> None:
    unknown = await run("inspect", uuid4())
    assert (unknown.status, unknown.out) == (1, "")
    assert "there is no image" in unknown.err
    assert (await run("inspect", "nonsense")).status == 2
