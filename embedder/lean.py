"""open_clip without torch's compiler: `from embedder.lean import open_clip`.

The compiler (`torch._dynamo`, with sympy) takes as long to import as torch, open_clip and all else together, and
nothing is compiled here. torchvision imports it to ask whether it could compile one operator, and torchvision and timm
to keep it away from some functions. While they are imported, the first is told no; the others have nothing to fear.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

__all__ = ["open_clip"]

_UTILS = "torch._dynamo.utils"


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Stand in for the compiler while inside; whoever wants it afterwards gets the real one."""
    if _UTILS in sys.modules:
        yield
        return
    utils = ModuleType(_UTILS)
    utils.is_compile_supported = lambda _: False  # type: ignore[attr-defined]
    sys.modules[_UTILS] = utils
    disable = torch.compiler.disable
    torch.compiler.disable = _leave_alone  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable
        del sys.modules[_UTILS]


def _leave_alone(function: Callable[..., Any] | None = None, *_: object, **__: object) -> Callable[..., Any]:
    """Decorate nothing, in the two ways of `torch.compiler.disable`."""
    return function if function is not None else _leave_alone


with _without_compiler():
    import open_clip
