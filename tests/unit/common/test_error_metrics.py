"""Errors are counted by labels that are known beforehand, whoever raised them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from common import errors
from common.error_metrics import CLASSES, CODES, count_error, labels_of
from common.errors import (
    Conflict,
    DownloadFailed,
    EmbeddingInvalid,
    ImageUnreadable,
    LikenessError,
    Overloaded,
    StorageUnavailable,
)

ROOT = Path(__file__).parents[3]
OF_OTHERS = {"api_client", "cli"}
"""Folders of what is no service."""


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Find what is written as `code="…"` or `default_code = "…"`."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                yield code
            case ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(value=str(code))):
                yield code


def test_every_code_that_is_raised_is_known() -> None:
    sources = [path for service in ("api", "worker", "embedder", "common") for path in (ROOT / service).rglob("*.py")]
    raised = {
        code for path in sources if not OF_OTHERS & set(path.parts) for code in codes_in(ast.parse(path.read_text()))
    }
    assert len(raised) > 50, "or the search finds nothing"
    assert raised - CODES == set(), "add them to common/error_metrics.py"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ImageUnreadable("broken"), ("image", "image_corrupt")),
        (ImageUnreadable("what an extension says", code="forbidden_kitten"), ("image", "other")),
        (EmbeddingInvalid("nan"), ("infrastructure", "embedding_invalid")),
        (StorageUnavailable("away"), ("infrastructure", "storage_unavailable")),
        (Overloaded("full", code="backlog_full"), ("overload", "backlog_full")),
        (DownloadFailed("404"), ("download", "download_failed")),
        (Conflict("busy"), ("request", "conflict")),
        (KeyError("password"), ("defect", "internal_error")),
        (LikenessError("spoilt", code="vector_invalid"), ("defect", "vector_invalid")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_labels_of_errors(error: Exception, expected: tuple[str, str]) -> None:
    assert labels_of(error) == expected


def test_every_error_has_a_class() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LikenessError)]
    assert {labels_of(kind("x"))[0] for kind in kinds} == CLASSES


def test_errors_are_counted_by_service() -> None:
    labels = {"service": "worker", "class": "image", "code": "image_corrupt"}
    before = REGISTRY.get_sample_value("likeness_errors_total", labels) or 0
    count_error("worker", ImageUnreadable("broken"))
    assert REGISTRY.get_sample_value("likeness_errors_total", labels) == before + 1
