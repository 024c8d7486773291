"""`likeness reembed`, `models` and `retire`, as an operator uses them; the work itself is a worker's."""

import asyncio

import pytest

from common.db import indexings, operations, reembeds
from common.db.embedding_models import label
from common.db.engine import Database
from common.db.models import EmbeddingModel, Image
from common.db.operations import REEMBED, RETIRE
from tests.fixtures.cli import Run
from tests.fixtures.rows import activate_model, add_model, new_image, record_done
from worker.cli import following
from worker.reembed.report import BadImage, ReembedReport


@pytest.fixture
async def active(database: Database) -> EmbeddingModel:
    return await activate_model(database)


@pytest.fixture
async def building(database: Database, active: EmbeddingModel) -> EmbeddingModel:
    return await add_model(database)


@pytest.fixture
async def rows(database: Database, building: EmbeddingModel) -> list[Image]:
    """Three images, of which the building model lacks one."""
    images = await record_done(database, *(new_image() for _ in range(3)))
    async with database.begin() as session:
        await indexings.remove(session, building.id, [images[0].id])
    return images


async def test_switching_there_and_back(
    run: Run, database: Database, active: EmbeddingModel, building: EmbeddingModel, rows: list[Image]
) -> None:
    refused = await run("reembed", "--model", label(building), "--promote")
    assert (refused.status, refused.out) == (1, "")
    assert "1 image that is done has no vector" in refused.err
    async with database.begin() as session:
        await indexings.add(session, building.id, rows)
    switched = await run("reembed", "--model", label(building), "--promote", "--json")
    assert switched.data == {"active": label(building), "former": label(active)}
    back = await run("reembed", "--rollback")
    assert (back.status, back.out) == (0, f"Searches use {label(active)}; {label(building)} is kept up to date.\n")


async def test_models_and_status_tell_what_is_missing(
    run: Run, database: Database, active: EmbeddingModel, building: EmbeddingModel, rows: list[Image]
) -> None:
    asked = await run("reembed", "--model", label(building), "--json")
    data = (await run("models", "--json")).data["models"]
    assert [(each["label"], each["state"], each["images"], each["missing"]) for each in data] == [
        (label(active), "active", 3, 0),
        (label(building), "building", 2, 1),
    ]
    assert (data[1]["fill"]["id"], data[1]["fill"]["status"]) == (asked.data["id"], "queued")
    assert "queued" in (await run("reembed", "--status")).out
    status = await run("status", "--json")
    assert [each["label"] for each in status.data["building"]] == [label(building)]
    assert f"{label(building)}, 1 images missing" in (await run("status")).out


async def test_a_fill_is_paused_and_resumed(run: Run, database: Database, building: EmbeddingModel) -> None:
    name = label(building)
    assert (await run("reembed", "--model", name, "--pause")).status == 1
    started = (await run("reembed", "--model", name, "--json")).data
    assert (await run("reembed", "--model", name, "--pause")).status == 0
    assert (await run("reembed", "--status", "--model", name, "--json")).data["models"][0]["fill"]["status"] == "paused"
    resumed = (await run("reembed", "--model", name, "--resume", "--json")).data
    assert resumed == {"id": started["id"], "model": name, "status": "queued"}
    assert (await run("reembed", "--model", name, "--resume")).status == 1


async def test_following_a_fill_shows_what_came_of_it(
    run: Run, database: Database, building: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.02)
    report = ReembedReport(model=label(building), added=5, left=1, failed=1)
    report.items = [BadImage(id="an-id", code="object_not_found", detail="it is gone")]

    async def work(error: str | None = None) -> None:
        async with asyncio.timeout(30):
            claim = None
            while claim is None:
                await asyncio.sleep(0.02)
                async with database.begin() as session:
                    claim = await operations.claim(session, [REEMBED], "tests")
        async with database.begin() as session:
            if error is None:
                await operations.finish(session, claim, report.model_dump(mode="json"))
            else:
                await operations.fail(session, claim, error)

    command = ("reembed", "--model", label(building), "--follow")
    shown, _ = await asyncio.gather(run(*command), work())
    assert (shown.status, "5 images embedded, 1 are left" in shown.out) == (1, True)
    assert "an-id  object_not_found: it is gone" in shown.out
    failed, _ = await asyncio.gather(run(*command), work("the embedder does not serve it"))
    assert (failed.status, failed.err) == (1, "The fill failed: the embedder does not serve it\n")


async def test_retiring_asks_first_and_leaves_the_rest_to_a_worker(
    run: Run, database: Database, active: EmbeddingModel, building: EmbeddingModel
) -> None:
    async with database.begin() as session:
        await reembeds.start(session, label(building), "tests")
    assert (await run("retire", label(active), "--yes")).status == 1
    assert (await run("retire", label(building))).status == 1, "nobody says yes"
    assert (await run("retire", label(building), "--yes")).status == 0
    states = {each["label"]: each for each in (await run("models", "--json")).data["models"]}
    assert (states[label(building)]["state"], states[label(building)]["missing"]) == ("retired", None)
    assert states[label(building)]["fill"]["status"] == "failed"
    async with database.begin() as session:
        assert await operations.claim(session, [RETIRE], "tests") is None, "who still writes is given time"


@pytest.mark.parametrize(
    "arguments", [[], ["--model", "a/b", "--promote", "--pause"], ["--promote"], ["--rollback", "--follow"]]
)
async def test_what_makes_no_sense_is_2(run: Run, arguments: list[str]) -> None:
    assert (await run("reembed", *arguments)).status == 2
