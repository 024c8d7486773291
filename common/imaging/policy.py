"""The limits on an image's size, checked before any pixel is decoded."""

from typing import Protocol

from common.errors import ImageTooLarge


class SizePolicy(Protocol):
    """What of `common.settings.ImagePolicy` concerns pixels; the sandboxed children bring one without pydantic."""

    @property
    def max_pixels(self) -> int:
        """Most pixels, width x height."""

    @property
    def max_side(self) -> int:
        """Most pixels of the longer side."""


def check_size(width: int, height: int, policy: SizePolicy) -> None:
    """Refuse what the policy does not allow.

    Raises:
        ImageTooLarge: `image_side_too_long` or `image_too_many_pixels`.
    """
    if max(width, height) > policy.max_side:
        raise ImageTooLarge(
            f"{width} x {height}: no side may be longer than {policy.max_side} pixels", code="image_side_too_long"
        )
    if width * height > policy.max_pixels:
        raise ImageTooLarge(
            f"{width} x {height} pixels are more than the {policy.max_pixels} allowed", code="image_too_many_pixels"
        )
