"""A Qdrant server: who may come in, its version, and whether each live model has a collection that fits."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from common.attributes import Declared
from common.db.embedding_models import label
from common.db.models import EmbeddingModel
from common.settings import QdrantSettings
from common.vectors.schema import indexed_fields
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok, warning
from worker.doctor.http import examine_line, open_client
from worker.doctor.line import CERTIFICATE, REACHABLE, show_url
from worker.doctor.live_models import REFILL, FindModels, without_models
from worker.doctor.settings import Limits

SETTING = "QDRANT__URL"
OLDEST = (1, 13)
"""The release that has all we ask for; strict mode is the youngest of it."""

CREDENTIALS, VERSION, COLLECTION = "credentials", "version", "collection"

_DISTANCE = "Cosine"


def examination(
    settings: QdrantSettings, url: str, attributes: Declared, models: FindModels, limits: Limits
) -> Examination:
    """Return what there is to check of the server at `url`; `attributes` are those that filters may ask for."""
    secure = url.lower().startswith("https:")
    checks = (REACHABLE, *([CERTIFICATE] if secure else []), CREDENTIALS, VERSION, COLLECTION)
    fields = list(indexed_fields(attributes))
    return Examination(
        "qdrant", show_url(url), checks, lambda: _examine(settings, url, fields, models, limits), SETTING
    )


async def _examine(
    settings: QdrantSettings, url: str, fields: Sequence[str], models: FindModels, limits: Limits
) -> Findings:
    async for finding in examine_line(url, SETTING):
        yield finding
        if is_failure(finding):
            return
    headers = {"api-key": settings.api_key.get_secret_value()} if settings.api_key else {}
    async with open_client(url, limits, headers) as client:
        try:
            async for finding in _examine_server(client, settings, fields, models):
                yield finding
                if finding.check == CREDENTIALS and is_failure(finding):
                    return
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            remedy = f"Correct the port in {SETTING}: HTTP is 6333, and 6334 is not."
            yield failed(VERSION, f"no answer that Qdrant would give: {type(error).__name__}", remedy)


async def _examine_server(
    client: httpx.AsyncClient, settings: QdrantSettings, fields: Sequence[str], models: FindModels
) -> Findings:
    yield judge_key((await client.get("/collections")).status_code, given=settings.api_key is not None)
    yield judge_version((await client.get("/")).json()["version"])
    live = await models()
    for finding in without_models(COLLECTION, live):
        yield finding
    for model in live or ():
        response = await client.get(f"/collections/{model.collection}")
        described = None if response.status_code == httpx.codes.NOT_FOUND else response.json()["result"]
        yield judge_collection(model, described, fields)


def judge_key(status: int, *, given: bool) -> Finding:
    """Say whether the API key is taken."""
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        seen = "the API key is refused" if given else "an API key is asked for, and none is given"
        return failed(CREDENTIALS, seen, "Set QDRANT__API_KEY to what QDRANT__SERVICE__API_KEY of the server is.")
    if status == httpx.codes.NOT_FOUND:
        return failed(
            CREDENTIALS, "answers 404, which is not Qdrant's way", f"Correct {SETTING}, which names another server."
        )
    if status != httpx.codes.OK:
        return failed(CREDENTIALS, f"Qdrant answers {status}", "Qdrant's log says more.")
    return ok(CREDENTIALS, "let in")


def judge_version(version: str) -> Finding:
    """Say whether the server is new enough."""
    if tuple(int(part) for part in version.split(".")[:2]) >= OLDEST:
        return ok(VERSION, version)
    return failed(
        VERSION, version, f"Upgrade Qdrant to {'.'.join(map(str, OLDEST))} or later, one minor version after the other."
    )


def judge_collection(model: EmbeddingModel, described: Mapping[str, Any] | None, fields: Sequence[str]) -> Finding:
    """Say whether a model's collection, as Qdrant describes it, is fit for its vectors; None: there is none."""
    what = f"{model.collection} of {label(model)}"
    if described is None:
        return failed(COLLECTION, f"{what} does not exist", f"Restart a worker, which makes it; {REFILL}")
    vectors = described["config"]["params"]["vectors"]
    if (vectors.get("size"), vectors.get("distance")) != (model.dim, _DISTANCE):
        return judge_vectors(model, vectors, "a Qdrant of its own")
    missing = [field for field in fields if field not in described["payload_schema"]]
    if missing:
        remedy = "Restart a worker, which makes them."
        return failed(COLLECTION, f"{what} has no index of {', '.join(missing)}", remedy)
    if described["status"] == "red":
        return failed(COLLECTION, f"{what} is broken: red", f"See Qdrant's log. To make it anew, delete it; {REFILL}")
    if described["status"] == "grey":
        remedy = f"Qdrant goes on when it is told anything: PATCH /collections/{model.collection} with an empty object."
        return warning(COLLECTION, f"{what} waits with its optimisations: grey", remedy)
    return ok(COLLECTION, f"{what}: {model.dim} numbers, {_DISTANCE}, {len(fields)} indexes")


def judge_vectors(model: EmbeddingModel, vectors: Mapping[str, Any], own: str) -> Finding:
    """Say that a collection holds other vectors than a model's; `own` is what Likeness should be given."""
    found = f"vectors of {vectors.get('size', 'several kinds of')} numbers compared by {vectors.get('distance')}"
    return failed(
        COLLECTION,
        f"{model.collection} has {found}, {label(model)} makes {model.dim} compared by {_DISTANCE}",
        f"It belongs to another model or application: give Likeness {own}. If it is of no use to anybody, delete it "
        f"and restart a worker, which makes it; {REFILL}",
    )
