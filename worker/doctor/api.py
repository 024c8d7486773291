"""The HTTP API, if it is known where that is: whether it serves, and what it says of its dependencies."""

import httpx
from pydantic import ValidationError

from common.connection_file import API_URL
from common.readiness import Ready
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok, warning
from worker.doctor.http import examine_line, open_client
from worker.doctor.line import CERTIFICATE, REACHABLE, show_url
from worker.doctor.settings import Limits

READY = "ready"


def examination(url: str, limits: Limits) -> Examination:
    """Return what there is to check."""
    checks = (REACHABLE, *([CERTIFICATE] if url.lower().startswith("https:") else []), READY)
    return Examination("api", show_url(url), checks, lambda: _examine(url, limits), API_URL)


async def _examine(url: str, limits: Limits) -> Findings:
    async for finding in examine_line(url, API_URL):
        yield finding
        if is_failure(finding):
            return
    async with open_client(url, limits) as client:
        try:
            yield judge_readiness(Ready.model_validate_json((await client.get("/ready")).content))
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except (httpx.HTTPError, ValidationError) as error:
            remedy = f"Correct {API_URL}."
            yield failed(READY, f"no answer that the api would give: {type(error).__name__}", remedy)


def judge_readiness(ready: Ready) -> Finding:
    """Say whether requests are served, and what the api lacks."""
    lacking = [f"{each.name}: {each.detail}" for each in ready.dependencies if not each.ok]
    seen = "; ".join(lacking) or "serves, and has all it needs"
    remedy = "See to what it names. If that is well here, the api has other settings than this command: compare them."
    if not ready.ready:
        return failed(READY, seen, remedy)
    return warning(READY, seen, remedy) if lacking else ok(READY, seen)
