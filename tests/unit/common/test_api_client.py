import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from common.api_client import ApiClient, ApiRefused, ApiUnavailable, FileUpload, Patience, for_each
from common.api_client.client import IDS_PER_POLL
from common.api_client.patience import backoff, parse_retry_after
from common.errors import ImageTooLarge

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTHING: dict[str, list[str]] = {"images": [], "rejected": []}
Handler = Callable[[httpx.Request], httpx.Response]


class Pauses:
    """A patience that does not wait, and keeps for how long it would have."""

    def __init__(self, limit_s: float = 300) -> None:
        self.told: list[tuple[str, float]] = []
        self.slept: list[float] = []
        self.patience = Patience(
            limit_s, on_pause=lambda reason, seconds: self.told.append((reason, seconds)), sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def client_of(handler: Handler, pauses: Pauses | None = None, url: str = "http://likeness") -> ApiClient:
    return ApiClient(url, (pauses or Pauses()).patience, httpx.MockTransport(handler))


def answering(*answers: httpx.Response | Exception) -> Handler:
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_passes_is_tried_again(status: int) -> None:
    pauses = Pauses()
    handler = answering(httpx.Response(status), httpx.ConnectError("refused"), httpx.Response(202, json=NOTHING))
    async with client_of(handler, pauses) as client:
        await client.upload([FileUpload("a", b"")])
    assert len(pauses.slept) == 2
    assert [seconds for _, seconds in pauses.told] == pauses.slept
    assert pauses.told[1][0] == "refused"


async def test_retry_after_is_honoured() -> None:
    pauses = Pauses()
    busy = {"detail": "too busy"}
    handler = answering(
        httpx.Response(503, headers={"Retry-After": "7"}, json=busy),
        httpx.Response(429, headers={"Retry-After": "0"}, json=busy),
        httpx.Response(202, json=NOTHING),
    )
    async with client_of(handler, pauses) as client:
        await client.upload([FileUpload("a", b"")])
    assert [reason for reason, _ in pauses.told] == ["too busy", "too busy"]
    assert pauses.slept[0] == 7
    assert pauses.slept[1] > 0


@pytest.mark.parametrize("failure", [httpx.Response(503, json={"detail": "down"}), httpx.ReadTimeout("down")])
async def test_patience_ends(failure: httpx.Response | Exception) -> None:
    pauses = Pauses(limit_s=0)
    async with client_of(answering(failure), pauses) as client:
        with pytest.raises(ApiUnavailable, match="down"):
            await client.upload([FileUpload("a", b"")])
    assert pauses.slept == []


async def test_a_longer_retry_after_than_the_patience_is_not_waited_for() -> None:
    pauses = Pauses(limit_s=60)
    async with client_of(answering(httpx.Response(503, headers={"Retry-After": "61"})), pauses) as client:
        with pytest.raises(ApiUnavailable, match="503"):
            await client.states([uuid4()])


async def test_each_try_sends_the_files_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"the content")
    bodies: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(503 if len(bodies) == 1 else 202, json=NOTHING)

    async with client_of(handle) as client:
        await client.upload([FileUpload("a.jpg", path), FileUpload("b.jpg", b"in memory")], {"tags": ["x", "y"]})
    assert all(b"the content" in body and b"in memory" in body for body in bodies)
    assert bodies[1].count(b'name="tags"') == 2
    assert b'filename="a.jpg"' in bodies[1]


async def test_a_file_that_cannot_be_opened_is_the_callers_business(tmp_path: Path) -> None:
    async with client_of(answering()) as client:
        with pytest.raises(FileNotFoundError):
            await client.upload([FileUpload("a", tmp_path / "nowhere")])


async def test_an_upload_of_which_nothing_was_accepted_is_an_answer() -> None:
    rejected = {"filename": "a", "code": "empty_file", "detail": "the file is empty"}
    answer = httpx.Response(422, json={"code": "empty_file", "detail": "…", "images": [], "rejected": [rejected]})
    async with client_of(answering(answer)) as client:
        result = await client.upload([FileUpload("a", b"")])
    assert [file.code for file in result.rejected] == ["empty_file"]


async def test_a_request_that_is_too_large_is_told_apart() -> None:
    answer = httpx.Response(413, json={"code": "too_many_files", "detail": "a request may have 10 files"})
    async with client_of(answering(answer)) as client:
        with pytest.raises(ImageTooLarge, match="10 files") as caught:
            await client.upload([FileUpload("a", b"")])
    assert caught.value.code == "too_many_files"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404, json={"code": "folder_not_found", "detail": "no such folder"}), "no such folder"),
        (httpx.Response(500, text="<html>"), "HTTP 500 Internal Server Error"),
        (httpx.Response(418, json=["a list"]), "HTTP 418"),
        (httpx.Response(307, headers={"Location": "https://elsewhere"}), "https://elsewhere"),
        (httpx.Response(200, text="hello"), "not one of this Likeness version"),
    ],
)
async def test_refusals_say_why(answer: httpx.Response, message: str) -> None:
    async with client_of(answering(answer)) as client:
        with pytest.raises(ApiRefused, match=message) as caught:
            await client.upload([FileUpload("a", b"")])
    assert caught.value.status == answer.status_code


async def test_states_are_asked_in_bounded_calls() -> None:
    asked: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        ids = json.loads(request.read())["ids"]
        asked.append(len(ids))
        return httpx.Response(200, json={"images": [{"id": id_, "status": "done", "error": None} for id_ in ids]})

    ids = [uuid4() for _ in range(2 * IDS_PER_POLL + 1)]
    async with client_of(handle) as client:
        states = await client.states(ids)
    assert asked == [IDS_PER_POLL, IDS_PER_POLL, 1]
    assert set(states) == set(ids)


async def test_following_ends_when_all_are_settled_or_deleted() -> None:
    deleted, failing, slow = uuid4(), uuid4(), uuid4()
    rounds: list[dict[UUID, str]] = [
        {deleted: "pending", failing: "embedding", slow: "pending"},
        {failing: "error", slow: "pending"},
        {slow: "pending"},
        {slow: "done"},
    ]
    asked: list[set[UUID]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        ids = {UUID(id_) for id_ in json.loads(request.read())["ids"]}
        asked.append(ids)
        states = rounds[len(asked) - 1]
        return httpx.Response(
            200,
            json={"images": [{"id": str(id_), "status": states[id_], "error": None} for id_ in ids if id_ in states]},
        )

    pauses = Pauses()
    async with client_of(handle, pauses) as client:
        seen = [set(changed) async for changed in client.follow([deleted, failing, slow])]
    assert asked == [{deleted, failing, slow}, {deleted, failing, slow}, {slow}, {slow}]
    assert seen == [{deleted, failing, slow}, {failing}, set(), {slow}]
    assert pauses.slept[2] > pauses.slept[1] == pauses.slept[0]


async def test_following_nothing_asks_nothing() -> None:
    async with client_of(answering()) as client:
        assert [changed async for changed in client.follow([])] == []


async def test_searches_are_understood() -> None:
    found = {"score": 0.5, "image": {"id": str(UUID(int=1)), "title": None, "filename": "a.jpg", "status": "done"}}
    requests: list[httpx.URL] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request.url)
        return httpx.Response(200, json={"model": "m", "results": [found], "next_cursor": None})

    async with client_of(handle, url="http://likeness/prefix/") as client:
        by_text = await client.search_text("a red circle", tag="demo", limit=5)
        by_image = await client.similar(UUID(int=2), tag="demo", limit=3)
    assert by_text == by_image
    assert by_text.results[0].image.filename == "a.jpg"
    assert requests[0].path == "/prefix/search/text"
    assert dict(requests[0].params) == {"q": "a red circle", "tag": "demo", "limit": "5"}
    assert requests[1].path == f"/prefix/images/{UUID(int=2)}/similar"


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("refused"), httpx.Response(200, text="hello"), httpx.Response(200, json={})]
)
async def test_a_check_is_not_patient(answer: httpx.Response | Exception) -> None:
    pauses = Pauses()
    async with client_of(answering(answer, answer), pauses) as client:
        with pytest.raises(ApiUnavailable, match="http://likeness"):
            await client.check()
        with pytest.raises(ApiUnavailable, match="http://likeness"):
            await client.readiness()
    assert pauses.slept == []


async def test_a_service_that_is_not_ready_yet_is_an_answer() -> None:
    starting = httpx.Response(503, json={"ready": False, "dependencies": [], "model": None, "demo": False})
    async with client_of(answering(httpx.Response(200, json={"status": "alive"}), starting)) as client:
        await client.check()
        assert not (await client.readiness()).ready


@pytest.mark.parametrize("url", ["http://[bad", "localhost:8000", "ftp://likeness", ""])
async def test_what_is_no_address_is_unavailable(url: str) -> None:
    with pytest.raises(ApiUnavailable):
        async with ApiClient(url) as client:
            await client.check()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("", None),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


def test_the_backoff_doubles_to_a_cap_and_is_never_none() -> None:
    assert [backoff(tries, 0) for tries in (0, 1, 2)] == [0.25, 0.5, 1]
    assert backoff(1000, 0) == 15
    assert backoff(1000, 0.999) < 30


async def test_a_few_are_done_at_once_and_all_in_the_end() -> None:
    running = most = 0
    done: list[int] = []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(item)

    await for_each(range(20), work, at_once=3)
    assert most == 3
    assert sorted(done) == list(range(20))


async def test_the_first_failure_ends_the_others_and_takes_no_more_items() -> None:
    taken: list[int] = []
    cancelled: list[int] = []

    async def work(item: int) -> None:
        taken.append(item)
        try:
            await asyncio.sleep(0)
            if item == 1:
                raise OSError("broken")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(OSError, match="broken"):
        await for_each(range(20), work, at_once=3)
    assert taken == [0, 1, 2]
    assert sorted(cancelled) == [0, 2]
