"""`make demo`: draw pictures, upload them, wait until they are searchable, search them, and check the results.

`LIKENESS_URL` names the API to use; otherwise it is that of the local stack, which is started if it does not run.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from common.api_client import ApiClient, Hits, ImageState, for_each
from common.arguments import take_none
from common.errors import LikenessError
from common.status import ImageStatus
from deploy.local.demo.checks import TOP, check_search, check_settled, check_similar
from deploy.local.demo.pictures import ALSO_WANTED, PER_SCENE, PICTURES, TAG, WANTED, Group, draw_groups
from deploy.local.demo.stack import serving_stack
from deploy.local.errors import ServiceFailed, StackError

_REQUESTS_AT_ONCE = 3
_SIMILAR_SHOWN = PER_SCENE + 2  # the others of its scene, and what comes after them

_console = Console(highlight=False)


async def run() -> list[str]:
    """Run the demo; return what does not hold of its results."""
    async with serving_stack(_say) as (url, stays), ApiClient(url) as client:
        readiness = await client.readiness()
        _say(f"Model: {readiness.model}")
        with _progress() as progress:
            groups = await _draw(progress)
            images = await _upload(client, groups, progress)
            states = await _wait(client, [id_ for ids in images.values() for id_ in ids], progress)
        wrong = check_settled(states, PICTURES)
        wrong += wrong or await _search(client, images[WANTED.caption][0], demo_model=readiness.demo)
        if stays and not wrong:
            _say(f"\nLook at them: {url}")
    return wrong


def _say(message: str) -> None:
    _console.print(message, markup=False, soft_wrap=True)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=_console)


async def _draw(progress: Progress) -> list[Group]:
    task = progress.add_task("Drawing", total=PICTURES, note="")
    drawing = draw_groups()
    groups: list[Group] = []
    while (group := await asyncio.to_thread(next, drawing, None)) is not None:
        groups.append(group)
        progress.advance(task, len(group.files))
    return groups


async def _upload(client: ApiClient, groups: Sequence[Group], progress: Progress) -> dict[str, list[UUID]]:
    """Return the ids of the images by the caption of their scene."""
    task = progress.add_task("Uploading", total=PICTURES, note="")
    images: dict[str, list[UUID]] = {}
    there_already = 0

    async def send(group: Group) -> None:
        nonlocal there_already
        answer = await client.upload(group.files, group.fields)
        if answer.rejected:
            raise ServiceFailed(f"a sample picture was rejected: {answer.rejected[0].detail}")
        images[group.scene.caption] = [image.id for image in answer.images]
        there_already += sum(image.duplicate for image in answer.images)
        note = f"{there_already} there already" if there_already else ""
        progress.update(task, advance=len(group.files), note=note)

    await for_each(groups, send, at_once=_REQUESTS_AT_ONCE)
    return images


async def _wait(client: ApiClient, ids: Sequence[UUID], progress: Progress) -> dict[UUID, ImageState]:
    task = progress.add_task("Searchable", total=PICTURES, note="")
    states: dict[UUID, ImageState] = {}
    async for changed in client.follow(ids):
        states.update(changed)
        counts = Counter(state.status for state in states.values())
        note = ", ".join(f"{counts[status]} {status}" for status in ImageStatus if counts[status])
        progress.update(task, completed=counts[ImageStatus.DONE], note=note)
    return states


async def _search(client: ApiClient, image_id: UUID, *, demo_model: bool) -> list[str]:
    wrong: list[str] = []
    for scene in (WANTED, *ALSO_WANTED):
        hits = await client.search_text(scene.caption, tag=TAG, limit=TOP)
        _show(f'"{scene.caption}"', hits)
        wrong += check_search(scene.caption, hits, existing=PER_SCENE, demo_model=demo_model)
    similar = await client.similar(image_id, tag=TAG, limit=_SIMILAR_SHOWN)
    _show(f'similar to a picture of "{WANTED.caption}"', similar)
    return wrong + check_similar(image_id, similar)


def _show(title: str, hits: Hits) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("picture")
    for rank, hit in enumerate(hits.results, start=1):
        table.add_row(f"{rank}", f"{hit.score:.3f}", hit.image.title or hit.image.filename)
    _console.print("", table, sep="\n")


async def _run_until_told() -> list[str]:
    """Run the demo; SIGTERM and SIGHUP end it as Ctrl-C does, so that a stack of its own is stopped."""
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - a coroutine always runs in a task
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    return await run()


def main() -> int:
    """Return the exit status."""
    try:
        wrong = asyncio.run(_run_until_told())
    except (StackError, LikenessError) as error:
        _say(f"The demo can't go on: {error}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("Stopped.")
        return 130
    for message in wrong:
        _say(f"The demo does not work: {message}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    take_none("deploy.local.demo", __doc__)
    sys.exit(main())
