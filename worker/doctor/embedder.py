"""The embedder: whether it serves, by which models, on what."""

from collections.abc import Iterator, Sequence

import httpx
from pydantic import ValidationError

from common.db.embedding_models import is_served_as, label
from common.db.models import EmbeddingModel
from common.embedding import ModelInfo, Models, Readiness
from common.imaging import PREPROCESS_VERSION
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok, warning
from worker.doctor.http import examine_line, open_client
from worker.doctor.line import CERTIFICATE, REACHABLE, show_url
from worker.doctor.live_models import FindModels, without_models
from worker.doctor.settings import Limits

SETTING = "EMBEDDER__URL"

READY, RELEASE, MODEL = "ready", "release", "model"


def examination(url: str, models: FindModels, limits: Limits) -> Examination:
    """Return what there is to check of the embedder at `url`."""
    secure = url.lower().startswith("https:")
    checks = (REACHABLE, *([CERTIFICATE] if secure else []), READY, RELEASE, MODEL)
    return Examination("embedder", show_url(url), checks, lambda: _examine(url, models, limits), SETTING)


async def _examine(url: str, models: FindModels, limits: Limits) -> Findings:
    async for finding in examine_line(url, SETTING):
        yield finding
        if is_failure(finding):
            return
    async with open_client(url, limits) as client:
        try:
            readiness = Readiness.model_validate_json((await client.get("/ready")).content)
            yield (ready := judge_readiness(readiness))
            if is_failure(ready):
                return
            served = Models.model_validate_json((await client.get("/models")).content).models
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except (httpx.HTTPError, ValidationError) as error:
            remedy = f"Correct the port in {SETTING}; the embedder's is EMBEDDER__PORT, 8100."
            yield failed(READY, f"no answer that an embedder would give: {type(error).__name__}", remedy)
            return
    yield judge_release(served)
    for finding in judge_models(await models(), served):
        yield finding


def judge_readiness(readiness: Readiness) -> Finding:
    """Say whether requests are served."""
    if readiness.ok:
        model = readiness.model
        return ok(READY, f"{model.label} on {model.device}, {model.precision}" if model else "ready")
    if readiness.status == "starting":
        return failed(READY, f"starting: {readiness.detail}", "Wait until its model is loaded, and look again.")
    return failed(READY, f"{readiness.status}: {readiness.detail}", "Do what it says, and restart the embedder.")


def judge_release(served: Sequence[ModelInfo]) -> Finding:
    """Say whether the embedder prepares images as this version does."""
    versions = {model.preprocess_version for model in served}
    if versions == {PREPROCESS_VERSION}:
        return ok(RELEASE, f"images are preprocessed by version {PREPROCESS_VERSION}, as here")
    seen = f"the embedder preprocesses by version {', '.join(map(str, sorted(versions)))}, this is {PREPROCESS_VERSION}"
    return failed(RELEASE, seen, "Run the same release of Likeness everywhere.")


def judge_models(live: Sequence[EmbeddingModel] | None, served: Sequence[ModelInfo]) -> Iterator[Finding]:
    """Say of each live model, the active one first, whether it is served; None: they are not known."""
    yield from without_models(MODEL, live)
    for model in live or ():
        yield _judge_model(model, served)


def _judge_model(model: EmbeddingModel, served: Sequence[ModelInfo]) -> Finding:
    name = label(model)
    what = f"{name}, {model.dim} numbers, which is {model.state}"
    if any(is_served_as(model, each) for each in served):
        return ok(MODEL, f"serves {what}")
    others = ", ".join(each.label for each in served)
    if name in {each.label for each in served}:
        remedy = "Run the same release of Likeness everywhere."
        return failed(MODEL, f"serves another version of {what}", remedy)
    weights = "the checkpoint's path" if "@" in model.pretrained else model.pretrained
    if model.state != "active":
        remedy = f"Restart the embedder with EMBEDDER__ALSO={name}; or give the model up: `likeness retire {name}`."
        return warning(MODEL, f"does not serve {what}, but {others}", remedy)
    return failed(
        MODEL,
        f"does not serve {what}, but {others}",
        f"Restart the embedder with EMBEDDER__MODEL={model.name} and EMBEDDER__PRETRAINED={weights}. To change to the "
        f"model it serves, serve both (EMBEDDER__ALSO) and run `likeness reembed --model {served[0].label}`.",
    )
