"""What a fill did, as its operation's result."""

from pydantic import BaseModel

MAX_ITEMS = 1000
"""Images that a report names; it counts all."""


class BadImage(BaseModel):
    """An image that can't be embedded from what is stored."""

    id: str
    code: str
    detail: str


class ReembedReport(BaseModel):
    """The result of a fill.

    Attributes:
        model: label of the model.
        added: images that are in its collection by this fill.
        left: images that are `done` and still not there; 0: the model can be promoted.
        failed: images that could not be embedded when they were last tried …
        items: … and which.
    """

    model: str
    added: int = 0
    left: int = 0
    failed: int = 0
    items: list[BadImage] = []

    def begin_pass(self) -> None:
        """Forget what failed in an earlier pass: all of it is tried again."""
        self.failed, self.items = 0, []

    def add(self, added: int, bad: list[BadImage]) -> None:
        """Count a batch."""
        self.added += added
        self.failed += len(bad)
        self.items += bad[: MAX_ITEMS - len(self.items)]
