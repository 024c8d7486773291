"""Several processes behind one port: whichever is scraped answers for all, and the dead count no longer as alive."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.scraping import Scrape

# Says what it has, then waits for the end of its standard input: as a process that lives.
_PROCESS = """
import os, sys
from common.batch_metrics import BatchMeter
from common.exposition import expose
from common.metrics import HttpMetrics
from worker.census import BACKLOG_AGE, CensusTaker
from worker.metrics import IN_FLIGHT, LAST_AUDIT

number = int(sys.argv[1])
http, meter = HttpMetrics(), BatchMeter("claim")
http.answered("GET", "/images", 200, 0.1 * number)
meter.arrived()
IN_FLIGHT.set(number)
LAST_AUDIT.set(number)
taker = CensusTaker(None, interval_s=1)
taker._show({(BACKLOG_AGE, ("pending",)): float(number)})
if sys.argv[2] == "withdraws":
    taker._show({})
sys.stdout.buffer.write(expose())
sys.stdout.flush()
os.close(1)
sys.stdin.read()
"""


def run(folder: Path, number: int, *, then: str = "") -> "subprocess.Popen[bytes]":
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-W", "error", "-c", _PROCESS, str(number), then]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read(process: "subprocess.Popen[bytes]") -> Scrape:
    assert process.stdout is not None
    return Scrape(process.stdout.read().decode())


def test_one_answers_for_all_and_none_for_the_dead(tmp_path: Path) -> None:
    with run(tmp_path, 1) as first:
        read(first)
        with run(tmp_path, 2) as second:
            both = read(second)
            assert both.value("likeness_images_in_flight") == 3
            assert both.value("likeness_batch_pending_items", batcher="claim") == 2
            assert both.value("likeness_http_requests_total", method="GET", route="/images", status="200") == 2
            assert both.value("likeness_audit_last_timestamp_seconds") == 2
            assert both.value("likeness_backlog_age_seconds", state="pending") == 2, "of who has told it last"
            assert both.types["likeness_build_info"] == "gauge"
            second.kill()
            second.wait()
            with run(tmp_path, 4, then="withdraws") as third:
                left = read(third)
    assert left.value("likeness_images_in_flight") == 5
    assert left.value("likeness_batch_pending_items", batcher="claim") == 2
    assert left.value("likeness_http_requests_total", method="GET", route="/images", status="200") == 3, "it was asked"
    backlog = left.value("likeness_backlog_age_seconds", state="pending")
    assert backlog != backlog, "who has withdrawn does not know, and nobody has told since"
