"""How calls are spread over several addresses of the embedder, and what happens when some of them are not well."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError
from structlog.testing import capture_logs

from common.breakers import EMBEDDER, Breakers
from common.embedder_client import EmbedderClient
from common.embedding import COUNT_HEADER, DIM_HEADER, MODEL_HEADER, TIMEOUT_HEADER
from common.errors import EmbedderUnavailable, EmbeddingInvalid, ImageRejected, Overloaded, UnknownModel
from common.settings import BreakerSettings, EmbedderClientSettings

MODEL: dict[str, Any] = {
    "name": "m",
    "pretrained": "p",
    "dim": 2,
    "image_size": 4,
    "preprocess": {"size": 4},
    "preprocess_version": 1,
    "context_length": 77,
    "device": "cpu",
    "precision": "fp32",
}
OTHER = MODEL | {"pretrained": "q"}
IMAGE = np.zeros((4, 4, 3), np.uint8)
FAILURES = 2

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


def vector(label: str = "m/p", numbers: tuple[float, float] = (0.6, 0.8)) -> httpx.Response:
    headers = {COUNT_HEADER: "1", DIM_HEADER: "2", MODEL_HEADER: label}
    return httpx.Response(200, content=np.array(numbers, dtype="<f4").tobytes(), headers=headers)


def problem(status: int, code: str, detail: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": detail or f"about {code}"}, headers=headers)


class Process:
    """One embedder behind the wire; `answer` is what it makes of an image."""

    def __init__(self) -> None:
        self.models = [MODEL]
        self.ready = True
        self.reachable = True
        self.heeds_versions = True
        self.asked: list[httpx.Request] = []
        self.answer: Answer = self._answer

    async def handle(self, request: httpx.Request) -> httpx.Response:
        if not self.reachable:
            raise httpx.ConnectError("refused")
        if request.url.path == "/ready":
            status = "ready" if self.ready else "starting"
            return httpx.Response(200, json={"status": status, "detail": f"it is {status}", "model": self.models[0]})
        if request.url.path == "/models":
            return httpx.Response(200, json={"default": "m/p", "models": self.models})
        served = self.models[0]["preprocess_version"]
        if self.heeds_versions and request.url.params.get("preprocess_version", f"{served}") != f"{served}":
            return problem(404, "unknown_model", f"served by preprocess version {served}")
        if request.url.path == "/model":
            return httpx.Response(200, json=self.models[0])
        self.asked.append(request)
        return await self.answer(request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        return vector(request.url.params.get("model", "m/p"))

    def says(self, response: Callable[[], httpx.Response]) -> None:
        async def answer(_: httpx.Request) -> httpx.Response:
            return response()

        self.answer = answer

    def dies(self) -> None:
        def refuse() -> httpx.Response:
            raise httpx.ConnectError("refused")

        self.ready = False
        self.says(refuse)


class Cluster:
    """Two processes and a client of both, with breakers that never probe by themselves."""

    def __init__(self) -> None:
        self.processes = {"one": Process(), "two": Process()}
        self.breakers = Breakers("test", BreakerSettings(failures=FAILURES, pause_s=3600))
        self.client = EmbedderClient(
            EmbedderClientSettings(url="http://one, http://two/", timeout_s=60),
            breaker=self.breakers.create(EMBEDDER, EmbedderUnavailable),
            transport=httpx.MockTransport(lambda request: self.processes[request.url.host].handle(request)),
        )

    @property
    def one(self) -> Process:
        return self.processes["one"]

    @property
    def two(self) -> Process:
        return self.processes["two"]

    async def embed(self, times: int = 1, label: str | None = "m/p") -> None:
        client = self.client if label is None else self.client.serving(label)
        for _ in range(times):
            await client.encode_pixels([IMAGE])


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    async with made.client:
        await made.client.models()
        yield made
    await made.breakers.close()


async def until_asked(process: Process, times: int) -> None:
    async with asyncio.timeout(60):
        while len(process.asked) < times:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)


async def test_calls_go_where_fewest_are(cluster: Cluster) -> None:
    go = asyncio.Event()

    async def slowly(_: httpx.Request) -> httpx.Response:
        await go.wait()
        return vector()

    for process in cluster.processes.values():
        process.answer = slowly
    calls = [asyncio.create_task(cluster.embed()) for _ in range(6)]
    for process in cluster.processes.values():
        await until_asked(process, 3)
    go.set()
    await asyncio.gather(*calls)

    assert [len(process.asked) for process in cluster.processes.values()] == [3, 3]


async def test_one_after_the_other_are_spread_too(cluster: Cluster) -> None:
    await cluster.embed(100)

    assert all(process.asked for process in cluster.processes.values())


@pytest.mark.parametrize(
    "response",
    [lambda: problem(503, "not_ready"), lambda: problem(500, "internal_error"), lambda: problem(429, "overloaded")],
    ids=["503", "500", "429"],
)
async def test_what_one_refuses_another_answers(cluster: Cluster, response: Callable[[], httpx.Response]) -> None:
    cluster.one.says(response)
    await cluster.embed(20)

    assert len(cluster.two.asked) == 20


async def test_who_is_down_is_left_out_and_the_whole_is_not_down(cluster: Cluster) -> None:
    cluster.one.dies()
    await cluster.embed(50)

    assert len(cluster.one.asked) == FAILURES
    assert cluster.breakers[EMBEDDER].closed
    assert breaker_open("embedder http://one") == 1
    assert breaker_open("embedder http://two") == 0
    assert breaker_open("embedder") == 0


def breaker_open(dependency: str) -> float | None:
    return REGISTRY.get_sample_value("likeness_breaker_open", {"service": "test", "dependency": dependency})


async def test_all_down_is_down(cluster: Cluster) -> None:
    for process in cluster.processes.values():
        process.dies()
    for _ in range(FAILURES):
        with pytest.raises(EmbedderUnavailable, match="refused"):
            await cluster.embed()

    assert not cluster.breakers[EMBEDDER].closed
    asked = [len(process.asked) for process in cluster.processes.values()]
    with pytest.raises(EmbedderUnavailable, match="not asked"):
        await cluster.embed()
    assert [len(process.asked) for process in cluster.processes.values()] == asked


async def test_all_down_is_down_though_one_takes_the_whole_deadline(cluster: Cluster) -> None:
    cluster.two.dies()
    await cluster.embed(50)

    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.02)
        raise httpx.ReadTimeout("")

    cluster.one.answer = hang
    link = cluster.client._link
    link._timeout_s = 0.01
    for _ in range(FAILURES):
        with pytest.raises(EmbedderUnavailable):
            await cluster.embed()

    assert not cluster.breakers[EMBEDDER].closed


async def test_who_was_down_is_the_last_resort(cluster: Cluster) -> None:
    """In a rolling restart the second one goes before everybody has noticed that the first one is back."""
    cluster.one.dies()
    await cluster.embed(50)
    cluster.one.says(vector)
    cluster.two.dies()
    await cluster.embed(50)


async def test_all_are_full(cluster: Cluster) -> None:
    cluster.one.says(lambda: problem(429, "overloaded", **{"Retry-After": "7"}))
    cluster.two.says(lambda: problem(429, "overloaded", **{"Retry-After": "3"}))
    with pytest.raises(Overloaded) as caught:
        await cluster.embed()

    assert caught.value.retry_after == 3
    assert cluster.breakers[EMBEDDER].closed


async def test_one_full_and_one_down_is_full(cluster: Cluster) -> None:
    cluster.one.says(lambda: problem(429, "overloaded"))
    cluster.two.dies()
    for _ in range(5):
        with pytest.raises(Overloaded):
            await cluster.embed()


async def test_nobody_who_meets_a_full_one_waits_for_one_that_is_down(cluster: Cluster) -> None:
    cluster.two.dies()
    await cluster.embed(50)
    cluster.one.says(lambda: problem(429, "overloaded"))
    with pytest.raises(Overloaded):
        await cluster.embed()

    assert len(cluster.two.asked) == FAILURES


async def test_no_time_is_kept_for_one_that_is_down(cluster: Cluster) -> None:
    cluster.two.dies()
    await cluster.embed(50)

    assert int(cluster.one.asked[-1].headers[TIMEOUT_HEADER]) > 30_000


async def test_half_of_the_deadline_is_kept_for_the_others(cluster: Cluster) -> None:
    def hang() -> httpx.Response:
        raise httpx.ReadTimeout("")

    for process in cluster.processes.values():
        process.says(hang)
    with pytest.raises(EmbedderUnavailable):
        await cluster.embed()

    given = sorted(int(process.asked[0].headers[TIMEOUT_HEADER]) for process in cluster.processes.values())
    assert given[0] <= 30_000 < given[1] <= 60_000


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (lambda: problem(422, "image_corrupt"), ImageRejected),
        (lambda: httpx.Response(200, json={"embedding": [2.0, 2.0], "model": "m/p", "dim": 2}), EmbeddingInvalid),
    ],
    ids=["rejected", "not normalised"],
)
async def test_what_may_be_the_images_fault_is_asked_once(
    cluster: Cluster, response: Callable[[], httpx.Response], error: type[Exception]
) -> None:
    for process in cluster.processes.values():
        process.says(response)
    with pytest.raises(error):
        await cluster.client.serving("m/p").encode_image(b"bytes")

    assert sum(len(process.asked) for process in cluster.processes.values()) == 1


async def test_who_serves_another_model_is_left_out(cluster: Cluster) -> None:
    cluster.one.says(lambda: problem(404, "unknown_model"))
    with capture_logs() as logs:
        await cluster.embed(50)

    assert len(cluster.one.asked) == 1
    assert [(line["address"], line["model"]) for line in logs if line["event"] == "embedder_left_out"] == [
        ("http://one", "m/p")
    ]
    assert cluster.breakers[EMBEDDER].closed


async def test_who_answers_with_another_model_is_left_out(cluster: Cluster) -> None:
    await cluster.client.model()
    cluster.one.says(lambda: vector("m/q"))
    await cluster.embed(50, label=None)

    assert len(cluster.one.asked) == 1
    assert breaker_open("embedder http://one") == 0


async def test_a_model_that_nobody_serves_is_unknown(cluster: Cluster) -> None:
    for process in cluster.processes.values():
        process.says(lambda: problem(404, "unknown_model"))
    for _ in range(3):
        with pytest.raises(UnknownModel):
            await cluster.embed()


async def test_a_model_whose_server_is_down_is_not_unknown(cluster: Cluster) -> None:
    cluster.one.says(lambda: problem(404, "unknown_model"))
    cluster.two.dies()
    for _ in range(3):
        with pytest.raises(EmbedderUnavailable):
            await cluster.embed()


async def test_one_model_that_is_out_of_reach_is_no_reason_to_refuse_the_others(cluster: Cluster) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        label = request.url.params["model"]
        return vector(label) if label == "m/q" else problem(404, "unknown_model")

    cluster.one.models, cluster.one.answer = [OTHER], answer
    cluster.two.dies()
    await cluster.client.models()
    for _ in range(FAILURES + 1):
        with pytest.raises(EmbedderUnavailable, match="refused"):
            await cluster.embed()

    await cluster.embed(label="m/q")


async def test_a_model_counts_if_one_serves_it(cluster: Cluster) -> None:
    cluster.two.models = [MODEL, OTHER]
    assert [model.label for model in await cluster.client.models()] == ["m/p", "m/q"]


async def test_who_serves_another_version_of_the_model_embeds_nothing(cluster: Cluster) -> None:
    cluster.two.models = [MODEL | {"preprocess_version": 2}]
    with capture_logs() as logs:
        await cluster.embed(20)
    assert [line["address"] for line in logs if line["event"] == "embedder_left_out"] == ["http://two"]
    assert (len(cluster.one.asked), cluster.two.asked) == (20, [])

    cluster.one.dies()
    for _ in range(FAILURES):
        with pytest.raises(EmbedderUnavailable):
            await cluster.embed()
    cluster.one.says(lambda: problem(404, "unknown_model"))
    for _ in range(2):  # the second time, nobody is known to serve it
        with pytest.raises(UnknownModel):
            await cluster.embed()
    assert cluster.two.asked == []


async def test_who_serves_another_version_is_asked_again_after_a_while(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.embedder_address._LEFT_OUT_S", 0.0)
    cluster.two.models = [MODEL | {"preprocess_version": 2}]
    await cluster.embed(20)
    cluster.two.models = [MODEL]
    await cluster.embed(100)
    assert cluster.two.asked, "nobody has told the client that it serves this version now"


async def test_both_versions_are_known_and_each_is_had_from_its_own(cluster: Cluster) -> None:
    cluster.one.models = [MODEL | {"preprocess_version": 2}]
    assert [model.preprocess_version for model in await cluster.client.models()] == [2, 1]
    for version, process in ((1, cluster.two), (2, cluster.one)):
        client = cluster.client.serving("m/p", version)
        assert (await client.model()).preprocess_version == version
        cluster.one.asked, cluster.two.asked = [], []
        for _ in range(10):
            await client.encode_pixels([IMAGE])
        assert (len(process.asked), len(cluster.one.asked + cluster.two.asked)) == (10, 10)


async def test_an_embedder_that_overlooks_the_version_is_found_out(cluster: Cluster) -> None:
    for process in cluster.processes.values():
        process.heeds_versions = False
        process.models = [MODEL | {"preprocess_version": 2}]
    with pytest.raises(UnknownModel, match="version 2, not 1"):
        await cluster.client.serving("m/p", 1).model()


async def test_models_are_known_while_one_is_down(cluster: Cluster) -> None:
    cluster.one.reachable = False
    assert [model.label for model in await cluster.client.models()] == ["m/p"]
    cluster.two.reachable = False
    with pytest.raises(EmbedderUnavailable, match="refused"):
        await cluster.client.models()


async def test_readiness_tells_of_each(cluster: Cluster) -> None:
    assert (await cluster.client.ready()).detail == "http://one: it is ready; http://two: it is ready"
    cluster.one.dies()
    await cluster.embed(50)
    ready = await cluster.client.ready()
    assert ready.ok
    assert ready.detail == "http://one: it is starting, left out after failures; http://two: it is ready"
    cluster.two.dies()
    with suppress(EmbedderUnavailable):
        await cluster.embed()
    assert not (await cluster.client.ready()).ok


async def test_calls_are_counted_by_address(cluster: Cluster) -> None:
    def count(host: str, outcome: str) -> float:
        labels = {"address": f"http://{host}", "outcome": outcome}
        return REGISTRY.get_sample_value("likeness_embedder_calls_total", labels) or 0

    outcomes = [("one", "unavailable"), ("two", "answered")]
    before = [count(*each) for each in outcomes]
    cluster.one.dies()
    await cluster.embed(50)

    assert [count(*each) - was for each, was in zip(outcomes, before, strict=True)] == [FAILURES, 50]


def test_addresses_are_separated_by_commas() -> None:
    settings = EmbedderClientSettings(url=" http://a:1, https://b/x/ ,http://a:1/,")
    assert settings.urls == ("http://a:1", "https://b/x")


@pytest.mark.parametrize("url", ["", " , ", "a:8100", "http://", "http://a:b", "http://a,ftp://b", "http://a?b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"address \d: .* e\.g\. http://embedder-1:8100"):
        EmbedderClientSettings(url=url)


async def test_credentials_are_not_shown() -> None:
    settings = EmbedderClientSettings(url="http://me:secret@one,http://two")
    async with EmbedderClient(settings, transport=httpx.MockTransport(Process().handle)) as client:
        assert "secret" not in (await client.ready()).detail
