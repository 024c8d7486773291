"""What the API takes is what can be stored; what it answers is what the row says."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.schemas.images import (
    MAX_POLLED,
    MAX_TAGS,
    EventOut,
    ImageDetail,
    ImageEdit,
    ImageOut,
    StatusItem,
    StatusQuery,
    UploadFields,
)
from common.db.models import EmbeddingModel, Image, ImageEvent
from common.status import ImageStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = EmbeddingModel(name="ViT-B-32", pretrained="openai", dim=512, preprocess_version=1, state="active")
UNSTORABLE = ["a\0b", "\ud800", "ends in \udfff"]


def create_image(**values: Any) -> Image:
    fresh: dict[str, Any] = {
        "id": uuid4(),
        "owner_id": uuid4(),
        "folder_id": uuid4(),
        "external_id": None,
        "sha256": "ab" * 32,
        "object_key": "sha256/ab",
        "filename": "shoe.jpg",
        "media_type": "image/jpeg",
        "byte_size": 10,
        "width": 3,
        "height": 2,
        "title": "Oxford",
        "description": None,
        "category": "shoes",
        "tags": ["brown"],
        "attributes": {"size": 43},
        "labels": {},
        "visibility": "visible",
        "visibility_by": None,
        "status": "pending",
        "attempt": 1,
        "error_code": None,
        "error_message": None,
        "created_at": NOW,
        "updated_at": NOW,
        "indexed_at": None,
    }
    return Image(**{**fresh, **values})


@pytest.mark.parametrize("text", UNSTORABLE)
@pytest.mark.parametrize("name", ["title", "description", "category", "external_id", "tags"])
def test_text_that_can_not_be_stored_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValidationError, match=name):
        UploadFields.model_validate({name: [text] if name == "tags" else text})


@pytest.mark.parametrize(
    "attributes",
    [
        {"x": float("nan")},
        {"x": [1, {"y": float("-inf")}]},
        *({"x": text} for text in UNSTORABLE),
        *({text: 1} for text in UNSTORABLE),
        {"x": {"y": [{"\0": None}]}},
        [],
        "text",
        None,
    ],
)
def test_attributes_that_can_not_be_stored_are_refused(attributes: Any) -> None:
    with pytest.raises(ValidationError, match="attributes"):
        ImageEdit.model_validate({"attributes": attributes})


def test_attributes_without_end_are_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"x": nested}
    with pytest.raises(ValidationError, match="attributes"):
        ImageEdit.model_validate({"attributes": nested})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(derandomize=True)
@given(attributes=st.dictionaries(st.text(), JSON, max_size=3))
def test_attributes_are_kept_as_they_are(attributes: dict[str, Any]) -> None:
    if "\\u0000" not in ascii(attributes).replace("\\x00", "\\u0000"):
        assert ImageEdit.model_validate({"attributes": attributes}).attributes == attributes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "a" * 501),
        ("description", "a" * 10_001),
        ("category", "a" * 256),
        ("category", ""),
        ("category", " \t "),
        ("tags", ["a" * 101]),
        ("tags", [""]),
        ("tags", ["a"] * (MAX_TAGS + 1)),
        ("tags", None),
        ("tags", "shoes"),
        ("status", "done"),
        ("owner_id", "6f1c2c1e-0000-4000-8000-000000000001"),
    ],
)
def test_an_edit_within_bounds(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        ImageEdit.model_validate({name: value})


def test_an_edit_knows_what_was_left_out() -> None:
    edit = ImageEdit.model_validate({"title": None, "tags": [" brown "]})
    assert edit.model_dump(exclude_unset=True) == {"title": None, "tags": ["brown"]}


@pytest.mark.parametrize("name", ["folder_id", "external_id"])
def test_an_edit_moves_no_image(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        ImageEdit.model_validate({name: str(uuid4())})
    assert getattr(UploadFields.model_validate({name: str(uuid4())}), name)


@pytest.mark.parametrize("number", [0, MAX_POLLED + 1])
def test_a_poll_asks_for_some_images_not_for_all(number: int) -> None:
    with pytest.raises(ValidationError, match="ids"):
        StatusQuery(ids=[uuid4()] * number)
    assert StatusQuery(ids=[uuid4()] * MAX_POLLED)


def test_an_image_is_shown_with_what_its_owner_may_know() -> None:
    image = create_image()
    shown = ImageOut.of(image, MODEL).model_dump(mode="json")
    assert UUID(shown["id"]) == image.id
    assert shown["links"] == {
        "content": f"/images/{image.id}/content",
        "thumbnail": f"/images/{image.id}/thumbnail",
        "similar": f"/images/{image.id}/similar",
    }
    assert shown["attributes"] == {"size": 43}
    assert shown["error"] is None
    assert not shown.keys() & {"owner_id", "object_key", "lease_owner", "payload_version"}


def test_labels_are_shown_surest_first() -> None:
    labels = {"tagging": {"a star": 0.5, "a moon": 0.9}, "faces": {"a star": 0.5, "a face": 1.0}}
    shown = ImageOut.of(create_image(labels=labels, visibility="hidden", visibility_by="moderation"), MODEL)
    assert [(each.label, each.score, each.source) for each in shown.labels] == [
        ("a face", 1.0, "faces"),
        ("a moon", 0.9, "tagging"),
        ("a star", 0.5, "faces"),
        ("a star", 0.5, "tagging"),
    ]
    assert (shown.visibility, shown.visibility_by) == ("hidden", "moderation")


def test_an_edit_decides_on_visibility_only_if_it_says_so() -> None:
    assert ImageEdit.model_validate({}).model_dump(exclude_unset=True) == {}
    assert ImageEdit.model_validate({"visibility": "hidden"}).model_dump(exclude_unset=True) == {"visibility": "hidden"}
    for value in (None, "secret"):
        with pytest.raises(ValidationError, match="visibility"):
            ImageEdit.model_validate({"visibility": value})


@pytest.mark.parametrize("status", ImageStatus)
def test_an_image_names_the_model_it_is_found_by(status: ImageStatus) -> None:
    image = create_image(status=status)
    assert ImageOut.of(image, MODEL).model == ("ViT-B-32/openai" if status == "done" else None)
    assert ImageOut.of(image, None).model is None


def test_a_failed_image_says_why() -> None:
    image = create_image(status="error", error_code="image_truncated", error_message="half of it is missing")
    for shown in (ImageDetail.of(image, MODEL), StatusItem.of(image)):
        assert shown.error is not None
        assert shown.error.model_dump() == {"code": "image_truncated", "detail": "half of it is missing"}
    silent = create_image(status="error", error_code="internal_error", error_message=None)
    assert StatusItem.of(silent).model_dump()["error"] == {"code": "internal_error", "detail": ""}


def test_an_event_is_shown() -> None:
    event = ImageEvent(
        id=7,
        image_id=uuid4(),
        from_status="pending",
        to_status="embedding",
        attempt=1,
        worker="host:1",
        error_code=None,
        at=NOW,
    )
    assert EventOut.of(event).model_dump() == {
        "from_status": "pending",
        "to_status": "embedding",
        "attempt": 1,
        "worker": "host:1",
        "error_code": None,
        "at": NOW,
    }
