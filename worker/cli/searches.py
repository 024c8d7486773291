"""`likeness searches`: what people search for, what they don't find, and how long it takes."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from common.db import searches
from common.db.searches import Asked, Latency, Report
from worker.cli.console import out, print_json, printable, say, table
from worker.cli.exits import plain_errors
from worker.cli.options import Json, parse_span
from worker.cli.settings import CliSettings, read_settings
from worker.cli.stores import open_database


@plain_errors()
def show_searches(
    since: Annotated[str, typer.Option(help="Only searches within this time: 90s, 30m, 2h, 7d.")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many queries in each list.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what was searched for most, what found nothing, and how long searches took.

    Texts count as the same whatever their case, and further pages of a search not at all.
    """
    span = parse_span(since)
    found = asyncio.run(_load(read_settings(), span, limit))
    if as_json:
        print_json({"since_s": span.total_seconds(), **asdict(found)})
    elif found.latency:
        _show(found)
    else:
        say("No searches in that time, or they are not logged (SEARCH_LOG__ENABLED).")


async def _load(settings: CliSettings, since: timedelta, limit: int) -> Report:
    async with open_database(settings.database) as database, database.begin() as session:
        return await searches.report(session, since=since, limit=limit)


def _show(found: Report) -> None:
    _show_latency(found.latency)
    out.print(f"{'sessions':>15}  {found.sessions:,}")
    _show_asked("Most frequent", found.top)
    _show_asked("Nothing found", found.none_found)


def _show_latency(latency: Sequence[Latency]) -> None:
    rows = table("by", "searches", "p50 ms", "p95 ms", "p99 ms", "longest ms")
    for kind in latency:
        times = (kind.p50_ms, kind.p95_ms, kind.p99_ms, kind.max_ms)
        rows.add_row(kind.kind or "all", f"{kind.searches:,}", *(f"{ms:,.1f}" for ms in times))
    for column in rows.columns[1:]:
        column.justify = "right"
    out.print(rows)


def _show_asked(title: str, asked: Sequence[Asked]) -> None:
    if not asked:
        return
    rows = table("query", "searches", "nothing found", "with filters", "last", title=title)
    for query in asked:
        counts = (f"{number:,}" for number in (query.searches, query.none_found, query.filtered))
        rows.add_row(printable(query.query), *counts, f"{query.last:%Y-%m-%d %H:%M %Z}")
    for column in rows.columns[1:4]:
        column.justify = "right"
    out.print(rows)
