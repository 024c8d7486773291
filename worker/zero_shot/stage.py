"""The stage both extensions are: labels whose prompts an image's vector is near."""

import asyncio

import numpy as np

from common.db.embedding_models import label
from common.embedder_client import ModelClient
from worker.extensions import StageContext
from worker.work import Work
from worker.zero_shot.classifier import Classifier, ensemble, select
from worker.zero_shot.settings import ZeroShotSettings


class ZeroShot:
    """Keeps the labels that fit an image, and may hide images that any fits. It comes after `embed`.

    The embedder is asked for the prompts' vectors when the first image comes, once for each model. While it is down,
    images wait, as they do for their own vectors.
    """

    def __init__(self, name: str, settings: ZeroShotSettings, context: StageContext, *, hides: bool = False) -> None:
        """Create the stage.

        Args:
            name: of the stage, and of the source of its labels.
            settings: what to look for.
            context: the worker's.
            hides: whether an image with any of the labels is hidden.
        """
        self.name = name
        self._settings = settings
        self._context = context
        self._hides = hides
        self._classifiers: dict[ModelClient, asyncio.Task[Classifier]] = {}

    async def run(self, work: Work) -> None:
        """Keep the labels of the image, instead of those of an earlier run."""
        if work.vector is None:
            raise RuntimeError("`embed` has not run")
        model = work.active
        client = self._context.embedder.serving(label(model), model.preprocess_version)
        classifier = await self._classifier_of(client)
        found = select(classifier.score(work.vector), threshold=self._settings.threshold, most=self._settings.max)
        await self._context.labels.keep(work, self.name, found, hide=bool(found) if self._hides else None)

    async def _classifier_of(self, model: ModelClient) -> Classifier:
        """Return what knows the labels in the model's space. One asks, and all who come meanwhile share the answer."""
        asked = self._classifiers.get(model)
        if asked is None or (asked.done() and (asked.cancelled() or asked.exception() is not None)):
            asked = self._classifiers[model] = asyncio.create_task(self._create_classifier(model))
        return await asyncio.shield(asked)

    async def _create_classifier(self, model: ModelClient) -> Classifier:
        settings = self._settings
        texts = {text for prompts in (*settings.labels.values(), settings.neutral) for text in prompts}
        ordered = sorted(texts)
        vectors = dict(zip(ordered, await model.encode_texts(ordered), strict=True))
        return Classifier(
            labels=list(settings.labels),
            concepts=np.stack([ensemble([vectors[text] for text in prompts]) for prompts in settings.labels.values()]),
            neutral=np.stack([vectors[text] for text in settings.neutral]),
            scale=settings.scale,
        )
