"""What the API answers about duplicates."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.schemas.images import ImageOut
from common.db.duplicates import Group, GroupKey
from common.db.models import EmbeddingModel
from common.duplicates import Tier

MAX_SEEN = 1000


def parse_group_id(text: str) -> GroupKey:
    """Read a group's id, `near-` and a UUID, or raise `ValueError`."""
    tier, _, id_ = text.partition("-")
    return GroupKey(Tier(tier), UUID(id_))


def _checked(text: str) -> str:
    parse_group_id(text)
    return text


GroupId = Annotated[str, Field(max_length=50), AfterValidator(_checked)]
"""A group's id in a path; anything else is refused."""


class MemberOut(BaseModel):
    """An image of a group, and how it is like the group's first one."""

    score: float = Field(description="Cosine similarity to the first image; 1 for the same bytes.")
    distance: int | None = Field(
        description="Bits of 64 in which the perceptual hashes differ; null where there is too little to see."
    )
    image: ImageOut


class GroupOut(BaseModel):
    """Images that are duplicates of the first of them, the most alike first."""

    id: str = Field(description="Stays the same while the first image does.")
    tier: Tier
    count: int = Field(description="How many images are in the group; `members` are not always all of them.")
    members: list[MemberOut]

    @classmethod
    def of(cls, group: Group, model: EmbeddingModel | None) -> "GroupOut":
        """Show a group; `model` is the active one."""
        members = [
            MemberOut(score=member.score, distance=member.distance, image=ImageOut.of(member.image, model))
            for member in group.members
        ]
        return cls(id=f"{group.key.tier}-{group.key.id}", tier=group.key.tier, count=group.count, members=members)


class GroupPage(BaseModel):
    """One page of groups, in no order that means anything, but always the same."""

    groups: list[GroupOut]
    next_cursor: str | None


class Seen(BaseModel):
    """What somebody who dismisses a group has seen of it."""

    model_config = ConfigDict(extra="forbid")

    image_ids: list[UUID] = Field(min_length=1, max_length=MAX_SEEN)
