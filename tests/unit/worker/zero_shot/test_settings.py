"""What can be configured, and that nothing is unless it is."""

import json
from types import SimpleNamespace
from typing import cast

import pytest

from common.errors import SettingsInvalid
from worker.extensions import StageContext
from worker.zero_shot import moderation, tagging
from worker.zero_shot.settings import Settings

CONTEXT = cast(StageContext, SimpleNamespace())


def test_both_stages_are_off_until_they_have_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (tagging.create(CONTEXT), moderation.create(CONTEXT)) == (None, None)
    monkeypatch.setenv("MODERATION__LABELS", '{"gore": "blood"}')
    stage = moderation.create(CONTEXT)
    assert stage is not None
    assert stage.name == "moderation"
    assert tagging.create(CONTEXT) is None


def test_a_label_has_one_prompt_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGING__LABELS", '{"shoe": "a shoe", "Hüte": [" a hat ", "hats"]}')
    monkeypatch.setenv("TAGGING__NEUTRAL", '["a photo"]')
    monkeypatch.setenv("TAGGING__THRESHOLD", "0.5")
    settings = Settings().tagging
    assert settings.labels == {"shoe": ["a shoe"], "Hüte": ["a hat", "hats"]}
    assert (settings.neutral, settings.threshold) == (["a photo"], 0.5)


BAD = {
    "no JSON": ("TAGGING__LABELS", "{shoe"),
    "no prompt": ("TAGGING__LABELS", '{"shoe": []}'),
    "empty prompt": ("TAGGING__LABELS", '{"shoe": [" "]}'),
    "endless prompt": ("MODERATION__LABELS", json.dumps({"shoe": "a" * 3000})),
    "endless label": ("TAGGING__LABELS", json.dumps({"a" * 101: "a shoe"})),
    "no label": ("TAGGING__LABELS", '{"": "a shoe"}'),
    "nothing neutral": ("TAGGING__NEUTRAL", "[]"),
    "certainty and more": ("TAGGING__THRESHOLD", "1.5"),
}


@pytest.mark.parametrize(("name", "value"), BAD.values(), ids=BAD)
def test_what_is_no_setting_keeps_the_worker_from_starting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name):
        tagging.create(CONTEXT)
