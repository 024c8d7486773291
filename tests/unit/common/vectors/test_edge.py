"""What only the embedded index does: keeping what was written, and keeping others out. The rest is the contract's."""

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from qdrant_edge import VectorStorageDatatype

from common.errors import ConfigurationError, VectorIndexUnavailable
from common.vectors import edge_shard
from common.vectors.base import ROUNDING, Collection, Filter, Payload, Point
from common.vectors.edge import EdgeIndex

COLLECTION = Collection("model-p1", 8)
OWNER, OTHER = UUID(int=1), UUID(int=2)


def point(number: int, owner_id: UUID = OWNER) -> Point:
    numbers = np.random.default_rng(number).standard_normal(COLLECTION.dim)
    return Point(
        UUID(int=number + 100),
        np.asarray(numbers / np.linalg.norm(numbers), dtype=np.float32),
        Payload(owner_id, UUID(int=3), "shoes", ("red",), datetime(2026, 1, 1, tzinfo=UTC)),
    )


@asynccontextmanager
async def opened(path: Path, timeout_s: float = 60) -> AsyncIterator[EdgeIndex]:
    index = EdgeIndex(path, timeout_s=timeout_s)
    try:
        await index.ensure(COLLECTION)
        yield index
    finally:
        await index.close()


async def owned(index: EdgeIndex, owner_id: UUID = OWNER) -> set[int]:
    found = await index.query(COLLECTION, point(0).vector, filter=Filter(owner_id, category="shoes"), limit=1000)
    return {match.id.int - 100 for match in found}


async def change_everything(index: EdgeIndex) -> None:
    """Leave points 1 to 9: number 1 is another's, number 2 has the vector of 50."""
    await index.upsert(COLLECTION, [point(number) for number in range(10)])
    await index.delete(COLLECTION, [point(0).id])
    await index.set_payload(COLLECTION, point(1).id, point(1, OTHER).payload)
    await index.upsert(COLLECTION, [Point(point(2).id, point(50).vector, point(2).payload)])


async def check_everything(index: EdgeIndex) -> None:
    assert await owned(index) == set(range(2, 10))
    assert await owned(index, OTHER) == {1}
    fetched = await index.fetch(COLLECTION, [point(number).id for number in (2, 3)])
    np.testing.assert_allclose(fetched[point(2).id], point(50).vector, atol=ROUNDING)
    np.testing.assert_allclose(fetched[point(3).id], point(3).vector, atol=ROUNDING)


async def test_opened_again_everything_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        await change_everything(index)
    async with opened(tmp_path) as index:
        await check_everything(index)


async def test_a_collection_from_before_numbers_had_16_bits_is_kept_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(edge_shard, "_STORED_AS", VectorStorageDatatype.Float32)
        async with opened(tmp_path) as index:
            await index.upsert(COLLECTION, [point(2), point(3)])
    async with opened(tmp_path) as index:
        await change_everything(index)
        await check_everything(index)


async def test_writes_survive_the_end_of_the_process(tmp_path: Path) -> None:
    """Killed by itself, right after the last write returned, with nothing flushed or closed."""
    script = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.unit.common.vectors import test_edge as here

async def main():
    index = here.EdgeIndex(Path(sys.argv[1]), timeout_s=60)
    await index.ensure(here.COLLECTION)
    await here.change_everything(index)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True, timeout=120
    )
    assert ended.returncode == -9, ended.stderr.decode()
    async with opened(tmp_path) as index:
        await check_everything(index)


async def test_writes_survive_the_end_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was synced, on top of the files as they were before, brings back everything."""
    synced: set[Path] = set()
    before, after = tmp_path / "before", tmp_path / "after"
    async with opened(before) as index:
        shutil.copytree(before, after)
        monkeypatch.setattr(edge_shard, "_sync", synced.add)
        await change_everything(index)
        for path in synced:
            if path.is_file():
                shutil.copyfile(path, after / path.relative_to(before))
        assert before / COLLECTION.name / "wal" in synced
    async with opened(after) as index:
        await check_everything(index)


async def test_files_the_engine_prepares_may_vanish_meanwhile(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        vanished = tmp_path / COLLECTION.name / "wal" / "tmp-open-99"
        vanished.symlink_to("open-99")  # as good as gone: it can't be opened
        await index.upsert(COLLECTION, [point(1)])
        vanished.unlink()


async def test_a_long_log_is_written_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenth change flushes: up to it, the data files suffice without any log."""
    monkeypatch.setattr(edge_shard, "_CHANGES_PER_FLUSH", 10)
    vectors, tenth, eleventh = tmp_path / "vectors", tmp_path / "tenth", tmp_path / "eleventh"
    async with opened(vectors) as index:
        await index.upsert(COLLECTION, [point(number) for number in range(6)])
        await index.upsert(COLLECTION, [point(number) for number in range(6, 10)])
        shutil.copytree(vectors, tenth, ignore=shutil.ignore_patterns("wal"))
        await index.upsert(COLLECTION, [point(10)])
        shutil.copytree(vectors, eleventh, ignore=shutil.ignore_patterns("wal"))
    for without_log in (tenth, eleventh):
        async with opened(without_log) as index:
            assert await owned(index) == set(range(10))


async def test_the_space_of_deleted_points_is_reclaimed(tmp_path: Path) -> None:
    many = [point(number) for number in range(1200)]
    async with opened(tmp_path) as index:
        await index.upsert(COLLECTION, many)
        await index.delete(COLLECTION, [some.id for some in many[:900]])
        segments = set((tmp_path / COLLECTION.name / "segments").iterdir())
    async with opened(tmp_path) as index:
        assert not segments & set((tmp_path / COLLECTION.name / "segments").iterdir())
        assert await index.count(COLLECTION) == 300
        assert await owned(index) == set(range(900, 1200))
        await index.upsert(COLLECTION, many[:3])
        assert await index.count(COLLECTION) == 303


async def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        with pytest.raises(ConfigurationError, match="open in another process"):
            EdgeIndex(tmp_path, timeout_s=60)
        await index.ping()
    async with opened(tmp_path) as index:
        await index.ping()


async def test_a_folder_that_can_not_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be the folder"):
        EdgeIndex(tmp_path / "file", timeout_s=60)


async def test_a_collection_of_another_dimension_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    index = EdgeIndex(tmp_path, timeout_s=60)
    with pytest.raises(ConfigurationError, match="8 numbers compared by Cosine, not 9"):
        await index.ensure(Collection(COLLECTION.name, 9))
    await index.close()


async def test_a_collection_left_half_made_is_made_anew(tmp_path: Path) -> None:
    leftover = tmp_path / f".{COLLECTION.name}.new" / "segments"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    async with opened(tmp_path) as index:
        await change_everything(index)
        await check_everything(index)
    assert not leftover.exists()


async def test_what_the_engine_can_not_read_makes_it_unavailable(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        await change_everything(index)
    (segment,) = (tmp_path / COLLECTION.name / "segments").iterdir()
    (segment / "segment.json").write_text("{")
    with pytest.raises(VectorIndexUnavailable, match="Qdrant Edge failed"):
        async with opened(tmp_path):
            pass


async def test_a_collection_must_be_ensured_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        with pytest.raises(VectorIndexUnavailable, match="not open"):
            await index.count(Collection("other", 8))


async def test_a_closed_index_is_unavailable(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        pass
    for call in (index.ping(), index.count(COLLECTION), index.upsert(COLLECTION, [point(1)])):
        with pytest.raises(VectorIndexUnavailable, match="closed"):
            await call


async def test_queries_pass_by_writes_that_wait(tmp_path: Path) -> None:
    """With the writer held up, a write gives up in time and a query is answered; later the write goes through."""
    held = threading.Event()
    async with opened(tmp_path, timeout_s=0.5) as index:
        await index.upsert(COLLECTION, [point(1)])
        index._writer.submit(held.wait)
        try:
            with pytest.raises(VectorIndexUnavailable, match="busy"):
                await index.upsert(COLLECTION, [point(2)])
            assert await owned(index) == {1}
        finally:
            held.set()
        await index.upsert(COLLECTION, [point(3)])
        assert await owned(index) == {1, 3}


async def test_collections_are_found_beside_what_is_none(tmp_path: Path) -> None:
    async with opened(tmp_path):
        (tmp_path / "lost+found").mkdir()
        assert edge_shard.find_collections(tmp_path) == [COLLECTION]
