import pytest

from common.db.models import EmbeddingModel
from deploy.local.errors import WrongModel
from deploy.local.model import choose_model
from embedder.settings import EmbedderSettings


def indexed(name: str, pretrained: str) -> EmbeddingModel:
    return EmbeddingModel(name=name, pretrained=pretrained)


DEMO = indexed("likeness-demo", "likeness-demo@0123456789ab")
RANDOM = indexed("likeness-demo", "random")
TAGGED = indexed("ViT-B-32", "openai")
CHECKPOINT = indexed("ViT-B-32", "mine@0123456789ab")
HUB = indexed("hf-hub:some/model", "0123456789ab")


def chosen(model: EmbeddingModel, /, **settings: str) -> tuple[str, str]:
    choice = choose_model(EmbedderSettings.model_validate(settings), [model])
    assert choice["EMBEDDER__FALLBACK"] == "none"
    return choice["EMBEDDER__MODEL"], choice["EMBEDDER__PRETRAINED"]


def test_on_a_new_database_only_those_who_named_no_model_may_get_the_demo_model() -> None:
    assert choose_model(EmbedderSettings(), []) == {"EMBEDDER__FALLBACK": "demo"}
    assert choose_model(EmbedderSettings(model="ViT-L-14"), []) == {}
    assert choose_model(EmbedderSettings(pretrained="openai"), []) == {}
    assert choose_model(EmbedderSettings(fallback="none"), []) == {}


@pytest.mark.parametrize("model", [DEMO, TAGGED, HUB])
def test_the_indexed_model_rules_without_any_setting(model: EmbeddingModel) -> None:
    assert chosen(model) == (model.name, model.pretrained)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (DEMO, {"model": "demo"}),
        (DEMO, {"model": "likeness-demo", "pretrained": "anything"}),
        (TAGGED, {"model": "ViT-B/32"}),
        (TAGGED, {"pretrained": "openai"}),
        (HUB, {"model": "hf-hub:some/model", "pretrained": "anything"}),
    ],
)
def test_the_same_model_by_another_word_is_no_other_model(model: EmbeddingModel, settings: dict[str, str]) -> None:
    assert chosen(model, **settings) == (model.name, model.pretrained)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (DEMO, {"model": "ViT-B-32"}),
        (DEMO, {"model": "demo", "pretrained": "random"}),
        (TAGGED, {"model": "demo"}),
        (TAGGED, {"pretrained": "laion2b_s34b_b79k"}),
        (TAGGED, {"pretrained": "/models/mine.pt"}),
        (HUB, {"model": "hf-hub:another/model"}),
        (CHECKPOINT, {"pretrained": "/models/another.pt"}),
    ],
)
def test_another_model_is_refused_with_advice(model: EmbeddingModel, settings: dict[str, str]) -> None:
    with pytest.raises(WrongModel, match="likeness reembed"):
        chosen(model, **settings)


@pytest.mark.parametrize(
    ("model", "settings", "default", "also"),
    [
        (DEMO, {"also": "likeness-demo/random"}, ("likeness-demo", DEMO.pretrained), "likeness-demo/random"),
        (
            DEMO,
            {"model": "demo", "also": "demo,ViT-B-32/openai"},
            ("likeness-demo", DEMO.pretrained),
            "ViT-B-32/openai",
        ),
        (TAGGED, {"also": "ViT-B-32/openai"}, ("ViT-B-32", "openai"), ""),
        (TAGGED, {"model": "demo", "also": "ViT-B-32/openai,hf-hub:a/b"}, ("ViT-B-32", "openai"), "hf-hub:a/b,demo/x"),
        (HUB, {"model": "demo", "also": "hf-hub:some/model"}, ("hf-hub:some/model", HUB.pretrained), "demo/x"),
        (CHECKPOINT, {"also": "ViT-B-32//models/mine.pt"}, ("ViT-B-32", "/models/mine.pt"), ""),
    ],
)
def test_the_indexed_model_is_the_default_whichever_of_the_users_it_is(
    model: EmbeddingModel, settings: dict[str, str], default: tuple[str, str], also: str
) -> None:
    if "model" in settings:
        settings = settings | {"pretrained": "x"}
    choice = choose_model(EmbedderSettings.model_validate(settings), [model])

    assert (choice["EMBEDDER__MODEL"], choice["EMBEDDER__PRETRAINED"]) == default
    assert choice["EMBEDDER__ALSO"] == also


def test_none_of_several_models_is_the_indexed_one() -> None:
    with pytest.raises(WrongModel, match="likeness reembed"):
        chosen(TAGGED, model="demo", also="ViT-B-32/laion2b_s34b_b79k,ViT-L-14/openai")


def test_a_checkpoint_is_taken_from_where_the_user_says() -> None:
    assert chosen(CHECKPOINT, pretrained="/models/mine.pt") == ("ViT-B-32", "/models/mine.pt")
    with pytest.raises(WrongModel, match=r"say where it is, e\.g\. EMBEDDER__PRETRAINED=/path/of/mine"):
        chosen(CHECKPOINT)


@pytest.mark.parametrize(
    ("active", "building", "settings", "default", "also"),
    [
        (TAGGED, DEMO, {}, TAGGED, f"likeness-demo/{DEMO.pretrained}"),
        (TAGGED, DEMO, {"model": "demo", "also": "ViT-B-32/openai"}, TAGGED, "demo/laion2b_s34b_b79k"),
        (DEMO, TAGGED, {"model": "demo", "also": "ViT-B-32/openai"}, DEMO, "ViT-B-32/openai"),
        (RANDOM, DEMO, {"model": "demo", "also": "likeness-demo/random"}, RANDOM, f"likeness-demo/{DEMO.pretrained}"),
        (DEMO, TAGGED, {"model": "ViT-B-32", "pretrained": "openai"}, DEMO, "ViT-B-32/openai"),
        (HUB, CHECKPOINT, {}, HUB, ""),
    ],
    ids=["nothing named", "promoted", "rolled back", "promoted without words", "also no more", "checkpoint"],
)
def test_building_models_are_served_beside_the_active_one_by_the_same_environment(
    active: EmbeddingModel, building: EmbeddingModel, settings: dict[str, str], default: EmbeddingModel, also: str
) -> None:
    choice = choose_model(EmbedderSettings.model_validate(settings), [active, building])
    assert (choice["EMBEDDER__MODEL"], choice["EMBEDDER__PRETRAINED"]) == (default.name, default.pretrained)
    assert choice["EMBEDDER__ALSO"] == also
