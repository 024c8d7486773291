"""The decode pool against real children: whatever one image does, its neighbours and the pool live on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from uvicorn.loops.auto import auto_loop_factory

from common.errors import ImageRejected, ImageUnreadable, InfrastructureError
from common.imaging import ImageFormat, Preprocess, SizePolicy
from common.settings import ImagePolicy
from tests.fixtures import pictures, renderers
from tests.fixtures.children import decode_children, is_running
from worker.decode_pool import DecodeLimits, DecodePool
from worker.decode_process import ChildFailed, DecodeProcess
from worker.render import Rendered, Renderer, render

WISHES = [Preprocess(64), Preprocess(32, "squash")]
POLICY = ImagePolicy()
LIMITS = DecodeLimits(memory_bytes=256 * 1024 * 1024, cpu_s=10, wall_s=30)

pytestmark = pytest.mark.usefixtures("own_decode_children")


@asynccontextmanager
async def running(
    *, size: int = 1, limits: DecodeLimits = LIMITS, renderer: Renderer = renderers.misbehave
) -> AsyncIterator[DecodePool]:
    pool = DecodePool(POLICY, size=size, limits=limits, renderer=renderer)
    try:
        await pool.start()
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes' states send no event
            await asyncio.sleep(0.02)


def same(one: Rendered, other: Rendered) -> bool:
    pixels = zip(one.pixels, other.pixels, strict=True)
    return all((ours == theirs).all() for ours, theirs in pixels) and (one.thumbnail, one.width, one.height) == (
        other.thumbnail,
        other.width,
        other.height,
    )


async def test_renders_what_the_process_itself_would() -> None:
    async with running(size=2, renderer=render) as pool:
        files = list(pictures.valid().values())

        results = await asyncio.gather(*map(partial(pool.render, preprocesses=WISHES), files))

        assert all(same(result, render(data, WISHES, POLICY)) for result, data in zip(results, files, strict=True))


async def test_refusals_cross_the_process_border() -> None:
    async with running(renderer=render) as pool:
        for name in ("empty", "text", "png bomb", "jpeg cut in half"):
            data, code = pictures.hostile()[name]
            with pytest.raises(ImageRejected) as refusal:
                await pool.render(data, WISHES)

            assert refusal.value.code == code


async def test_the_largest_allowed_picture_fits_the_default_limits() -> None:
    """Turned, with a profile, and all of 50 million pixels."""
    image = pictures.picture(816, 612).resize((8160, 6120))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = pictures.encode(image, ImageFormat.JPEG, exif=exif.tobytes(), icc_profile=pictures.srgb_profile())
    async with running(renderer=render, limits=DecodeLimits(wall_s=120, cpu_s=60)) as pool:
        rendered = await pool.render(data, WISHES)

    assert (rendered.width, rendered.height) == (6120, 8160)


HOSTILE = {
    b"hog": "decode_out_of_memory",
    b"loop": "decode_timeout",
    b"segfault": "decode_crashed",
    b"exit": "decode_crashed",
    b"fork": "decode_crashed",
    b"spawn": "decode_crashed",
    b"connect": "decode_crashed",
    b"signal": "decode_crashed",
}


async def check_that_they_fail_alone(pool: DecodePool, hostile: Mapping[bytes, str]) -> None:
    """Have hostile images rendered among good ones; the pool is as it was afterwards."""
    children = len(decode_children())
    files = [pictures.jpeg(seed=seed) for seed in range(8)]
    batch = [data for act in hostile for data in (*files[:4], act, *files[4:])]

    results = await asyncio.gather(*map(partial(pool.render, preprocesses=WISHES), batch), return_exceptions=True)

    for data, result in zip(batch, results, strict=True):
        if data in hostile:
            assert isinstance(result, ImageUnreadable), (data, result)
            assert result.code == hostile[data], data
        else:
            assert isinstance(result, Rendered), repr(result)
            assert same(result, render(data, WISHES, POLICY))
    assert (await pool.render(files[0], WISHES)).width == 96
    assert len(decode_children()) == children


async def test_hostile_images_fail_alone_and_the_pool_recovers() -> None:
    async with running(size=2, limits=replace(LIMITS, cpu_s=1)) as pool:
        await check_that_they_fail_alone(pool, HOSTILE)
    assert not decode_children()


async def test_an_image_that_hangs_fails_alone_and_the_pool_recovers() -> None:
    async with running(size=2, limits=replace(LIMITS, wall_s=3)) as pool:
        await check_that_they_fail_alone(pool, {b"sleep": "decode_timeout"})


async def test_a_process_spoiled_by_one_image_is_not_blamed_on_the_next() -> None:
    async with running() as pool:
        await pool.render(b"spoil", WISHES)

        assert (await pool.render(pictures.jpeg(), WISHES)).width == 96


async def test_a_child_killed_while_idle_is_not_blamed_on_the_next_image() -> None:
    async with running() as pool:
        for child in decode_children():
            child.kill()
        await until(lambda: not decode_children())

        assert (await pool.render(pictures.jpeg(), WISHES)).width == 96


def test_a_child_that_has_ended_unnoticed_has_failed_on_any_event_loop() -> None:
    """uvloop is particular about what is written to a closed pipe."""

    async def render_in_vain() -> None:
        process = await asyncio.create_subprocess_exec("true", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        await process.wait()
        child = DecodeProcess(process, wall_s=60)
        with pytest.raises(ChildFailed):
            await child.render(b"", WISHES)
        await child.stop()

    for factory in (asyncio.new_event_loop, auto_loop_factory()):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(render_in_vain())


async def test_an_answer_without_end_is_cut_short() -> None:
    async with running(renderer=renderers.flood) as pool:
        with pytest.raises(ImageUnreadable) as refusal:
            await pool.render(b"", WISHES)

        assert refusal.value.code == "decode_crashed"


async def test_what_a_child_forked_is_killed_with_it() -> None:
    def forking(data: bytes, preprocesses: Sequence[Preprocess], policy: SizePolicy) -> Rendered:
        raise NotImplementedError  # its module must not be imported here

    forking.__module__, forking.__qualname__ = "tests.fixtures.forking_renderer", "render_after_fork"
    async with running(renderer=forking) as pool:
        assert len(decode_children()) == 2

        assert (await pool.render(pictures.jpeg(), WISHES)).width == 96
        await pool.close()

        await until(lambda: not decode_children())


async def test_where_memory_runs_out_children_are_ended_before_the_worker() -> None:
    async with running():
        scores = [_read_oom_score(child.pid) for child in decode_children()]

    assert scores
    assert set(scores) == {1000}


def _read_oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_children_are_replaced_after_some_images() -> None:
    async with running(limits=DecodeLimits(images_per_child=2)) as pool:
        pids = [(await pool.render(b"pid", WISHES)).width for _ in range(6)]

    assert pids[0::2] == pids[1::2]
    assert len(set(pids)) == 3


async def test_a_cancelled_image_frees_its_place() -> None:
    async with running() as pool:
        task = asyncio.create_task(pool.render(b"sleep", WISHES))
        pid = decode_children()[0].pid
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await pool.render(pictures.jpeg(), WISHES)).width == 96
        await until(lambda: not is_running(pid))


def told() -> list[float]:
    return [REGISTRY.get_sample_value(f"likeness_decode_pool_{name}") or 0 for name in ("size", "in_use", "waiting")]


async def test_closing_gives_no_verdict_on_what_is_being_rendered_or_waits() -> None:
    before = told()
    async with running() as pool:
        tasks = [asyncio.create_task(pool.render(b"sleep", WISHES)) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert [now - was for now, was in zip(told(), before, strict=True)] == [1, 1, 2]

        await pool.close()
        assert told()[0] == before[0]

        assert not decode_children()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [InfrastructureError] * 3
        with pytest.raises(InfrastructureError):
            await pool.render(b"pid", WISHES)
    assert told() == before


async def test_a_pool_that_cannot_start_says_so_and_leaves_nothing() -> None:
    def out_of_reach(data: bytes, preprocesses: Sequence[Preprocess], policy: SizePolicy) -> Rendered:
        raise NotImplementedError

    pool = DecodePool(POLICY, size=2, renderer=out_of_reach)

    with pytest.raises(InfrastructureError) as failure:
        await pool.start()

    assert failure.value.code == "decoder_unavailable"
    assert not decode_children()


async def test_children_see_none_of_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3__SECRET_KEY", "a-secret")
    async with running(renderer=renderers.environment) as pool:
        assert b"a-secret" not in (await pool.render(b"", WISHES)).thumbnail


PARENT = """
import asyncio, psutil
from common.imaging import Preprocess
from common.settings import ImagePolicy
from tests.fixtures import renderers
from worker.decode_pool import DecodePool

async def main():
    WISHES = [Preprocess(64)]
    pool = DecodePool(ImagePolicy(), size=3, renderer=renderers.misbehave)
    await pool.start()
    await pool.render(b"chatter", WISHES)
    busy = [asyncio.create_task(pool.render(act, WISHES)) for act in (b"loop", b"sleep")]
    await asyncio.sleep(0.2)
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    try:
        await asyncio.gather(*busy)
    except asyncio.CancelledError:
        await pool.close()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
async def test_children_die_with_the_worker_and_quietly(death: signal.Signals) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", PARENT],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await asyncio.to_thread(parent.stdout.readline)).split()]
    assert len(pids) == 3
    assert all(map(is_running, pids))

    os.killpg(parent.pid, death)  # what Ctrl-C does
    _, errors = await asyncio.to_thread(parent.communicate)

    await until(lambda: not any(map(is_running, pids)))
    assert errors == ""
