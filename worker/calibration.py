"""Calibration: measure on a sample of the images what the active model's scores mean, and keep that with the model.

Nobody has labelled the images, so what is known to be alike is made, or said by their owners:

- near duplicates: the pictures of the sample, and what becomes of them when they are halved, recompressed, cropped or
  brightened;
- similar: more alike than 99 of 100 pairs of the sample's pictures;
- text: the titles that pictures have, each with its own picture and with the others'. Where there are too few titles,
  a match is a higher score than 99 of 100 that everyday sentences have with the sample's pictures.
"""

import asyncio
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageEnhance

from common.calibration import LEAST, LEAST_TITLED, CalibrationParams, Measured, ScoreThresholds, separate
from common.db import calibration, embedding_models
from common.db.calibration import Sampled
from common.db.engine import Database
from common.db.models import EmbeddingModel
from common.db.operations import CALIBRATE, OperationClaim
from common.embedding import MAX_TEXT_CHARS
from common.storage import ObjectStore
from worker.decode_pool import DecodePool
from worker.operations import Outcome, Progress
from worker.reembed.embedding import OF_THE_IMAGE
from worker.served import ServedModels
from worker.stages.fetch import read_original

log = structlog.get_logger(__name__)

Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_TWINS = 0.999
"""Different bytes whose vectors are this alike are twins already; they are no example of different pictures."""
RARE = 99.0
"""In per cent: how many of the others something rare exceeds."""
_PICTURES = 100
"""So many of the sample are decoded, and changed in each way."""

_THINGS = (
    "a dog", "a cat", "a car", "a house", "a tree", "a person", "a plate of food", "a mountain", "a beach", "a city at "
    "night", "a flower", "a bird", "a boat", "a bridge", "a book", "a chair", "a computer", "a bicycle", "a horse",
    "a football match", "a birthday cake", "a train", "an aeroplane", "a map", "a handwritten letter", "a guitar",
    "a pair of shoes", "a wedding", "a spreadsheet", "snow",
)  # fmt: skip
SENTENCES = tuple(f"a photo of {thing}" for thing in _THINGS)


class Calibrations:
    """Does operations of the kind `calibrate`; see `worker.operations`."""

    kind = CALIBRATE

    def __init__(
        self,
        database: Database,
        storage: ObjectStore,
        decoder: DecodePool,
        served: ServedModels,
    ) -> None:
        self._database = database
        self._storage = storage
        self._decoder = decoder
        self._served = served

    async def run(self, claim: OperationClaim, progress: Progress) -> Outcome:
        """Measure, and keep the thresholds; the result is a `Measured`, or says in `problem` why there is none."""
        params = CalibrationParams.model_validate(claim.params)
        async with self._database.begin() as session:
            model = await embedding_models.find_active(session)
            if model is None:
                return Outcome({"problem": "nothing is indexed yet"})
            sample = await calibration.sample(session, model.id, params.sample)
        if len(sample) < LEAST:
            return Outcome({"problem": f"{len(sample)} different images are done, and {LEAST} are needed"})
        steps = min(len(sample), _PICTURES) + 1
        vectors = np.stack([each.vector for each in sample])
        pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
        different = pairs[pairs < _TWINS]
        if not different.size:
            return Outcome({"problem": "by this model the images are all the same"})

        variants: list[float] = []
        for done, each in enumerate(sample[:_PICTURES]):
            variants += await self._scores_of_variants(model, each)
            await progress.advance(done + 1, steps)
        if not variants:
            return Outcome({"problem": "none of the sample's pictures could be read"})
        texts, titles = await self._text_threshold(model, sample, vectors)
        similar = float(np.percentile(pairs, RARE))
        near = separate(np.array(variants), different)
        thresholds = ScoreThresholds(
            near_duplicate=_clipped(max(near, similar)), similar=_clipped(similar), text_match=_clipped(texts)
        )
        async with self._database.begin() as session:
            await calibration.keep(session, model.id, thresholds)
        measured = Measured(
            model=embedding_models.label(model),
            thresholds=thresholds,
            images=len(sample),
            titles=titles,
            variants=len(variants),
            variants_found=float(np.mean(np.array(variants) >= thresholds.near_duplicate)),
        )
        return Outcome(measured.model_dump(mode="json"))

    async def _scores_of_variants(self, model: EmbeddingModel, sampled: Sampled) -> list[float]:
        """Return how alike a picture and its variants are; an original that is lost or spoilt has none."""
        try:
            data = await read_original(self._storage, sampled.image)
            rendered = await self._decoder.render(data, [await self._served.preprocess(model)])
            changed = await asyncio.to_thread(lambda: list(variants_of(rendered.pixels[0])))
            vectors = await self._served.encode(model, changed)
        except OF_THE_IMAGE as error:  # the audit reports most of those
            log.warning("calibration_skips_image", image_id=str(sampled.image.id), error=str(error))
            return []
        return [float(vector @ sampled.vector) for vector in vectors]

    async def _text_threshold(
        self, model: EmbeddingModel, sample: Sequence[Sampled], vectors: Vectors
    ) -> tuple[float, int]:
        """Return the threshold for texts, and how many titles it was measured by."""
        titled = [(position, each.image.title) for position, each in enumerate(sample) if each.image.title]
        titles = sorted({title[:MAX_TEXT_CHARS] for _, title in titled})
        if len(titles) < LEAST_TITLED:
            said = await self._encode_texts(model, SENTENCES)
            return float(np.percentile(said @ vectors.T, RARE)), 0
        scores = await self._encode_texts(model, titles) @ vectors[[position for position, _ in titled]].T
        own = np.array(titles)[:, None] == np.array([title[:MAX_TEXT_CHARS] for _, title in titled])[None, :]
        return separate(scores[own], scores[~own]), len(titles)

    async def _encode_texts(self, model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
        return np.stack(await self._served.encode_texts(model, texts))


def variants_of(pixels: Pixels) -> Iterator[Pixels]:
    """Yield what becomes of a picture on its way through other people's hands; uint8, shape (S, S, 3)."""
    picture = Pictures.fromarray(pixels)
    size = picture.size
    yield np.asarray(picture.reduce(2).resize(size, Pictures.Resampling.BICUBIC))
    file = BytesIO()
    picture.save(file, "JPEG", quality=50)
    with Pictures.open(file, formats=["JPEG"]) as recompressed:
        yield np.asarray(recompressed)
    edge = size[0] // 20
    yield np.asarray(picture.crop((edge, edge, size[0] - edge, size[1] - edge)).resize(size))
    yield np.asarray(ImageEnhance.Brightness(picture).enhance(1.2))


def _clipped(score: float) -> float:
    """Return a cosine similarity that rounding took out of its range as the nearest within."""
    return min(1.0, max(-1.0, score))
