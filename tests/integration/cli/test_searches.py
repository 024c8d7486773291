"""`likeness searches`: what people search for, as a table and as JSON."""

from uuid import uuid4

from common.db import searches
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID
from common.db.searches import NewSearch
from tests.fixtures.cli import Run


async def test_searches_are_told_to_people_and_machines(run: Run, database: Database) -> None:
    silent = await run("searches")
    assert (silent.status, silent.out) == (0, "")
    assert "SEARCH_LOG__ENABLED" in silent.err

    image = uuid4()
    texts = [NewSearch(LOCAL_OWNER_ID, "text", 0, found, 12.5, "m/p", text="[red] Shoes") for found in (0, 3)]
    by_image = NewSearch(LOCAL_OWNER_ID, "image", 0, 3, 2.5, "m/p", image_id=image, session="visit")
    async with database.begin() as session:
        await searches.add(session, [*texts, by_image])

    shown = await run("searches")
    assert shown.status == 0
    for words in ("[red]", str(image)[:8], "Most frequent", "Nothing found", "12.5"):
        assert words in shown.out
    data = (await run("searches", "--json", "--since", "2h", "--limit", "1")).data
    assert (data["since_s"], data["sessions"]) == (7200, 1)
    assert [(each["kind"], each["searches"]) for each in data["latency"]] == [("image", 1), ("text", 2), (None, 3)]
    assert data["latency"][1] | {"kind": "text", "p50_ms": 12.5, "p95_ms": 12.5} == data["latency"][1]
    (top,) = data["top"]
    assert (top["query"], top["searches"], top["none_found"], top["filtered"]) == ("[red] shoes", 2, 1, 0)
    assert [(none["query"], none["searches"]) for none in data["none_found"]] == [("[red] shoes", 1)]
    assert (await run("searches", "--since", "soon")).status == 2
