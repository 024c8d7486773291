"""Downloads of imports on a real database and a real web server: what becomes of each, whoever dies or interferes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest
from sqlalchemy import text, update

from common.db import images, imports, lifecycle
from common.db.engine import Database
from common.db.models import LOCAL_OWNER_ID, TRIES, Image
from common.errors import DatabaseUnavailable
from common.purge import Purge
from common.settings import ImagePolicy, ImportSettings
from common.storage import object_key
from tests.fakes.object_store import MemoryObjectStore
from tests.fixtures import pictures
from tests.fixtures.indexes import unreliable_index
from tests.fixtures.rows import (
    activate_model,
    age_tombstones,
    count,
    exists,
    load,
    new_image,
    new_import,
    record_done,
    record_import,
)
from tests.fixtures.sites import NAME, Site, Town, answer, endless, redirect, running_site
from tests.fixtures.story import told_moves
from worker.downloads import Downloads
from worker.url_fetch import Fetcher

PICTURE = pictures.jpeg(seed=1)
HASH = hashlib.sha256(PICTURE).hexdigest()
KEY = object_key(HASH)
POLICY = ImagePolicy(max_file_bytes=100_000, max_pixels=1_000_000)
URL = f"http://{NAME}/a.png"


class Bench:
    """Downloads with all they need; `handed_on` are the images that went on to the pipeline."""

    def __init__(self, database: Database, site: Site, storage: MemoryObjectStore, timeout_s: float = 20) -> None:
        self.database = database
        self.site = site
        self.storage = storage
        self.handed_on: list[UUID] = []
        self.town = Town(site, {"inside.example": [["10.0.0.1"]]})
        self.downloads = self.create(timeout_s=timeout_s)

    def create(self, *, timeout_s: float = 20, concurrent: int = 2, enabled: bool = True, up: bool = True) -> Downloads:
        return Downloads(
            self.database,
            self.storage,
            Fetcher(self.town.network, timeout_s),
            ImportSettings(enabled=enabled, timeout_s=timeout_s, concurrent=concurrent),
            POLICY,
            worker="downloader",
            process=self._process,
            may_store=lambda: up,
        )

    async def _process(self, ids: Iterable[UUID]) -> None:
        self.handed_on += ids

    async def run(self, *, timeout_s: float = 20, url: str = URL) -> Image:
        """Import, download once, and return the row as it is then."""
        image = await record_import(self.database, new_import(url))
        assert await self.create(timeout_s=timeout_s).run_next()
        return await load(self.database, image.id)

    async def run_until_settled(self, image: Image, timeout_s: float = 20) -> Image:
        """Download as often as there are tries."""
        downloads = self.create(timeout_s=timeout_s)
        while (row := await load(self.database, image.id)).status == "created":
            await make_due(self.database)
            assert await downloads.run_next()
        return row

    async def events(self, image: Image) -> list[tuple[str, int, str | None]]:
        async with self.database.begin() as session:
            events = await images.list_events(session, image.id)
        return [(event.to_status, event.attempt, event.error_code) for event in events]


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with running_site({"/a.png": answer(PICTURE)}) as site:
        yield Bench(database, site, MemoryObjectStore())


async def make_due(database: Database) -> None:
    """Let what waits be due now."""
    async with database.begin() as session:
        await session.execute(update(Image).values(next_run_at=text("now() - interval '1 second'")))


@asynccontextmanager
async def running(downloads: Downloads) -> AsyncIterator[None]:
    task = asyncio.create_task(downloads.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_was_downloaded_is_stored_and_goes_on_as_an_upload_does(bench: Bench) -> None:
    with told_moves() as told:
        image = await bench.run()
    assert told == [(str(image.id), "created", "pending", None)]
    assert (image.status, image.sha256, image.media_type, image.byte_size) == (
        "pending",
        HASH,
        "image/jpeg",
        len(PICTURE),
    )
    assert (image.width, image.height, image.object_key, image.tries_left) == (96, 64, KEY, TRIES)
    assert bench.storage.objects == {KEY: PICTURE}
    await asyncio.sleep(0)
    assert bench.handed_on == [image.id]
    assert await bench.events(image) == [("created", 0, None), ("pending", 1, None)]
    assert not await bench.downloads.run_next(), "nothing else is due"


FINAL = {
    "gone": (answer(status=404), "download_failed"),
    "a redirect inside": (redirect("http://inside.example/"), "url_refused"),
    "no image": (answer(b"<html>not found</html>"), "unsupported_media"),
    "empty": (answer(b""), "empty_file"),
    "cut off in the header": (answer(PICTURE[:20]), "image_header_corrupt"),
    "too large": (answer(PICTURE + bytes(POLICY.max_file_bytes)), "file_too_large"),
    "too large and endless": (endless(PICTURE), "file_too_large"),
    "too many pixels": (answer(pictures.hostile()["webp bomb"].data), "image_too_many_pixels"),
    "compressed": (answer(PICTURE, Content_Encoding="gzip"), "download_failed"),
}


@pytest.mark.parametrize("kind", FINAL)
async def test_what_can_not_get_better_ends_at_once(bench: Bench, kind: str) -> None:
    page, code = FINAL[kind]
    bench.site.pages["/a.png"] = page
    with told_moves() as told:
        image = await bench.run()
    assert told == [(str(image.id), "created", "error", code)]
    assert (image.status, image.error_code, image.has_bytes) == ("error", code, False)
    assert image.error_message
    assert await bench.events(image) == [("created", 0, None), ("error", 1, code)]
    assert (bench.storage.objects, bench.handed_on) == ({}, [])


async def test_a_private_address_ends_at_once_and_is_not_named(bench: Bench) -> None:
    image = await bench.run(url="http://inside.example/a.png?token=secret")
    assert (image.status, image.error_code) == ("error", "url_refused")
    assert "10.0.0.1" not in str(image.error_message)
    assert bench.town.dialled == []


TEMPORARY = {
    "unwell": answer(status=503),
    "busy": answer(status=429),
    "slow": endless(b"x", pause_s=0.05),
    "broken": answer(PICTURE, Content_Length="50000"),
}


@pytest.mark.parametrize("kind", TEMPORARY)
async def test_what_may_pass_is_tried_again_until_no_try_is_left(bench: Bench, kind: str) -> None:
    bench.site.pages["/a.png"] = TEMPORARY[kind]
    image = await bench.run(timeout_s=0.5)
    assert (image.status, image.tries_left) == ("created", TRIES - 1)
    assert image.next_run_at > image.updated_at, "it waits for a while"
    row = await bench.run_until_settled(image, timeout_s=0.5)
    assert (row.status, row.error_code, row.attempt) == ("error", "download_failed", TRIES)
    assert "on every try" not in str(row.error_message), "it says what the last try met"
    codes = [code for _, _, code in (await bench.events(row))[1:]]
    assert codes == ["download_failed"] * TRIES


async def test_a_server_that_gets_well_is_forgiven(bench: Bench) -> None:
    bench.site.pages["/a.png"] = answer(status=503)
    image = await bench.run()
    bench.site.pages["/a.png"] = answer(PICTURE)
    row = await bench.run_until_settled(image)
    assert (row.status, row.attempt, row.tries_left) == ("pending", 2, TRIES)


async def test_requeued_it_is_downloaded_again(bench: Bench) -> None:
    bench.site.pages["/a.png"] = answer(status=404)
    image = await bench.run()
    bench.site.pages["/a.png"] = answer(PICTURE)
    async with bench.database.begin() as session:
        await lifecycle.requeue(session, [image.id], "tester")
    assert (await bench.run_until_settled(image)).status == "pending"
    statuses = [status for status, _, _ in await bench.events(image)]
    assert statuses == ["created", "error", "created", "pending"]


async def test_the_same_bytes_in_the_same_folder_are_one_image(bench: Bench) -> None:
    first = await bench.run()
    second = await bench.run()
    assert (second.status, second.error_code) == ("error", "duplicate_image")
    assert str(first.id) in str(second.error_message)
    assert bench.storage.objects == {KEY: PICTURE}


async def test_the_same_bytes_at_the_same_time_are_one_image(bench: Bench) -> None:
    for _ in range(6):
        await record_import(bench.database)
    await asyncio.gather(*(bench.downloads.run_next() for _ in range(6)))
    async with bench.database.begin() as session:
        found = await session.execute(text("SELECT status, error_code FROM images ORDER BY status"))
    assert [tuple(row) for row in found] == [("error", "duplicate_image")] * 5 + [("pending", None)]


async def test_an_upload_and_an_import_of_the_same_bytes_at_once_are_one_image(bench: Bench) -> None:
    await record_import(bench.database)

    async def upload() -> None:
        async with bench.database.begin() as session:
            await images.record(session, [new_image(HASH)])

    await asyncio.gather(upload(), bench.downloads.run_next())
    async with bench.database.begin() as session:
        owners = list(await session.scalars(text("SELECT id FROM images WHERE sha256 IS NOT NULL")))
        statuses = list(await session.scalars(text("SELECT status FROM images ORDER BY status")))
    assert len(owners) == 1
    assert statuses in (["created", "error"], ["pending"]), "one has the bytes; which one is a matter of luck"


class ForgetfulStore(MemoryObjectStore):
    """Has no object any more by the time anybody looks, as when it was purged."""

    async def put(self, key: str, data: BinaryIO, size: int, media_type: str) -> None:
        await super().put(key, data, size, media_type)
        self.objects.clear()


@pytest.mark.parametrize("kind", ["down", "purged meanwhile"])
async def test_trouble_of_our_own_costs_no_try(bench: Bench, kind: str) -> None:
    whole, bench.storage = bench.storage, ForgetfulStore()
    bench.storage.down = kind == "down"
    image = await bench.run()
    assert (image.status, image.tries_left, image.has_bytes) == ("created", TRIES, False)
    assert (await bench.events(image))[-1] == ("created", 1, "storage_unavailable")
    bench.storage = whole
    assert (await bench.run_until_settled(image)).status == "pending"


async def test_while_the_store_is_down_nothing_is_asked_for(bench: Bench) -> None:
    image = await record_import(bench.database)
    async with running(bench.create(up=False)):
        await asyncio.sleep(0.1)
    assert (await load(bench.database, image.id)).attempt == 0


async def test_switched_off_nothing_is_downloaded(bench: Bench) -> None:
    image = await record_import(bench.database)
    await bench.create(enabled=False).run()
    assert (await load(bench.database, image.id)).attempt == 0
    assert bench.site.requests == []


async def test_an_end_that_can_not_be_written_is_made_up_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object) -> bool:
        raise DatabaseUnavailable("it is down")

    bench.site.pages["/a.png"] = answer(status=404)
    with monkeypatch.context() as patch:
        patch.setattr(imports, "fail", refuse)
        image = await bench.run()
    assert image.status == "created"
    assert (await bench.run_until_settled(image)).error_code == "download_failed"


async def never(*_: object) -> None:
    await asyncio.Event().wait()


async def test_a_worker_that_is_stopped_puts_its_downloads_back(bench: Bench) -> None:
    bench.site.pages["/a.png"] = never
    ids = [(await record_import(bench.database)).id for _ in range(3)]
    async with running(bench.downloads):
        for _ in range(2):
            await bench.site.wait_for_request()
    rows = [await load(bench.database, id_) for id_ in ids]
    assert [(row.status, row.tries_left) for row in rows] == [("created", TRIES)] * 3
    assert sorted(row.attempt for row in rows) == [0, 1, 1], "two at once, and the third waited"
    bench.site.pages["/a.png"] = answer(PICTURE)
    assert await bench.downloads.run_next(), "they are due at once"


async def test_what_a_dead_worker_left_is_downloaded_by_another_one(bench: Bench) -> None:
    image = await record_import(bench.database)
    async with bench.database.begin() as session:
        await imports.claim(session, timedelta(minutes=1))
    assert not await bench.downloads.run_next(), "it may live"
    await make_due(bench.database)
    assert await bench.downloads.run_next()
    row = await load(bench.database, image.id)
    assert (row.status, row.attempt) == ("pending", 2)


async def test_a_zombie_changes_nothing(bench: Bench) -> None:
    """A worker that stands still past its time has nothing to say when it wakes up."""
    image = await record_import(bench.database)
    go_on = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answer(status=404)(writer)

    bench.site.pages["/a.png"] = late
    zombie = asyncio.create_task(bench.downloads.run_next())
    await bench.site.wait_for_request()
    bench.site.pages["/a.png"] = answer(PICTURE)
    await make_due(bench.database)
    assert await bench.downloads.run_next()
    go_on.set()
    await zombie
    row = await load(bench.database, image.id)
    assert (row.status, row.attempt, row.error_code) == ("pending", 2, None)


async def test_deleted_while_it_is_downloaded_nothing_is_left(bench: Bench, tmp_path: Path) -> None:
    await activate_model(bench.database)
    image = await record_import(bench.database)
    go_on = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answer(PICTURE)(writer)

    bench.site.pages["/a.png"] = late
    downloading = asyncio.create_task(bench.downloads.run_next())
    await bench.site.wait_for_request()
    async with bench.database.begin() as session:
        await images.delete(session, LOCAL_OWNER_ID, image.id)
    go_on.set()
    await downloading
    assert not await exists(bench.database, image.id)
    assert bench.handed_on == []
    assert set(bench.storage.objects) == {KEY}, "stored before it was known to be deleted"
    await age_tombstones(bench.database)
    async with unreliable_index(tmp_path) as index:
        assert await Purge(bench.database, bench.storage, index).purge_due() == 1
    assert bench.storage.objects == {}
    assert await count(bench.database, "tombstones") == 0


async def test_a_purge_of_the_same_bytes_takes_turns_with_a_download(bench: Bench, tmp_path: Path) -> None:
    """However the two fall, an image that is pending has its bytes."""
    await activate_model(bench.database)
    async with unreliable_index(tmp_path) as index:
        purge = Purge(bench.database, bench.storage, index)
        for _ in range(10):
            (old,) = await record_done(bench.database, new_image(HASH))
            await bench.storage.put(KEY, BytesIO(PICTURE), len(PICTURE), "image/jpeg")
            async with bench.database.begin() as session:
                await images.delete(session, LOCAL_OWNER_ID, old.id)
            image = await record_import(bench.database)
            await asyncio.gather(purge.purge(old.id, HASH), bench.downloads.run_next())
            row = await bench.run_until_settled(image)
            assert (row.status, KEY in bench.storage.objects) == ("pending", True)
            async with bench.database.begin() as session:
                await images.delete(session, LOCAL_OWNER_ID, image.id)
            await purge.purge(image.id, HASH)
