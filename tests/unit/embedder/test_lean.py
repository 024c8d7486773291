"""Libraries that ask for torch's compiler while they are imported are put off; afterwards everything is as it was."""

import sys
from importlib import import_module
from typing import Any

import pytest
import torch

from embedder import lean

UTILS = "torch._dynamo.utils"


def test_the_compiler_is_stood_in_for_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, UTILS, raising=False)
    disable = torch.compiler.disable
    with lean._without_compiler():
        assert import_module(UTILS).is_compile_supported("cpu") is False
        stand_in: Any = torch.compiler.disable
        assert stand_in(len) is stand_in(recursive=False)(len) is len
    assert UTILS not in sys.modules
    assert torch.compiler.disable is disable


def test_a_compiler_that_is_there_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, UTILS, sys)  # any module will do
    disable = torch.compiler.disable
    with lean._without_compiler():
        assert sys.modules[UTILS] is sys
        assert torch.compiler.disable is disable
