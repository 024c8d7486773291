"""What logs and traces cost on an image's way, beside the time that decoding one image takes.

Both take turns, so that a machine that changes its speed slows both. That a thread sends the spans on is not counted.
"""

import statistics
import time
from collections.abc import Callable

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from common import correlation, tracing
from common.imaging import Preprocess
from common.opentelemetry_spans import OpenTelemetry
from common.settings import ImagePolicy
from tests.benchmarks.measurements import AtMost, Measurements
from tests.fixtures.photos import drawn_photos
from worker.render import render

SPANS = 40
"""Somewhat more than an image has from its upload to `done`."""
SUBMITTED = 12
"""Items that it has others batch."""
IMAGES = 20
ROUNDS = 9
OFF_TARGET = 0.01
ON_TARGET = 0.25


class _Forgetting(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        pass


def measure() -> Measurements:
    """Return microseconds an image, and as shares of decoding one: spans while off, while on, and correlation ids."""
    photos = list(drawn_photos(IMAGES))
    preprocess = [Preprocess(size=224)]
    policy = ImagePolicy()
    tracer = OpenTelemetry("benchmark", _Forgetting())

    def decode() -> None:
        for photo in photos:
            render(photo, preprocess, policy)

    def on() -> None:
        with tracing.installed(tracer):
            _make_spans()

    work: dict[str, Callable[[], None]] = {"decode": decode, "off": _make_spans, "on": on, "ids": _tell_ids}
    rounds = [{name: _seconds(do) / IMAGES for name, do in work.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in work}
    return {
        **{f"{name}_us": seconds * 1e6 for name, seconds in median.items()},
        "off_share": AtMost(median["off"] / median["decode"], OFF_TARGET),
        "ids_share": AtMost(median["ids"] / median["decode"], OFF_TARGET),
        "on_share": AtMost(median["on"] / median["decode"], ON_TARGET),
    }


def _make_spans() -> None:
    for _ in range(IMAGES):
        with tracing.span("image", attributes={tracing.IMAGE_ID: "one"}):
            for _ in range(SPANS - 1):
                with tracing.span("postgresql transaction", "client"):
                    pass
            for _ in range(SUBMITTED):
                tracing.here()


def _tell_ids() -> None:
    with correlation.bound("from-a-client"):
        for _ in range(IMAGES * SUBMITTED):
            correlation.current()


def _seconds(do: Callable[[], None]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started
