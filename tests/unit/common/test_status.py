"""The state machine: every state is reached, nothing is a dead end that should not be, and claims are what they say."""

import pytest

from common.status import LEASED, SETTLED, TRANSITIONS, ImageStatus, can_claim, can_move

LIVE = set(ImageStatus) - SETTLED


def reachable(start: ImageStatus, *, without: frozenset[ImageStatus] = frozenset()) -> set[ImageStatus]:
    """Return the states that can be reached from `start`, never stepping on those in `without`."""
    found: set[ImageStatus] = set()
    frontier = [start]
    while frontier:
        for target in TRANSITIONS[frontier.pop()] - without - found:
            found.add(target)
            frontier.append(target)
    return found


def test_every_state_has_its_moves_and_is_stored_by_its_name() -> None:
    assert set(TRANSITIONS) == set(ImageStatus)
    assert [str(status) for status in ImageStatus] == ["created", "pending", "embedding", "indexing", "done", "error"]


def test_a_new_image_can_reach_every_other_state() -> None:
    assert reachable(ImageStatus.CREATED) == set(ImageStatus)


def test_only_a_download_that_was_given_up_or_put_back_is_new_again() -> None:
    assert {before for before in ImageStatus if can_move(before, ImageStatus.CREATED)} == {
        ImageStatus.CREATED,
        ImageStatus.ERROR,
    }


@pytest.mark.parametrize("status", sorted(LIVE))
def test_no_live_state_is_a_dead_end(status: ImageStatus) -> None:
    assert ImageStatus.DONE in reachable(status)


@pytest.mark.parametrize("needed", [ImageStatus.PENDING, ImageStatus.EMBEDDING, ImageStatus.INDEXING])
def test_nothing_becomes_searchable_without_a_stored_object_a_claim_and_a_vector(needed: ImageStatus) -> None:
    assert ImageStatus.DONE not in reachable(ImageStatus.CREATED, without=frozenset({needed}))


@pytest.mark.parametrize("status", sorted(SETTLED))
def test_what_is_settled_is_only_put_back_to_the_start(status: ImageStatus) -> None:
    starts = {target for target in ImageStatus if can_move(status, target)}
    assert starts == {ImageStatus.PENDING} | ({ImageStatus.CREATED} if status is ImageStatus.ERROR else set())


@pytest.mark.parametrize("status", sorted(LEASED))
def test_a_worker_can_put_back_and_give_up_whatever_it_holds(status: ImageStatus) -> None:
    assert can_move(status, ImageStatus.PENDING)
    assert can_move(status, ImageStatus.ERROR)


@pytest.mark.parametrize("status", sorted(set(ImageStatus) - LEASED - {ImageStatus.CREATED}))
def test_only_who_holds_a_lease_or_downloads_gives_up(status: ImageStatus) -> None:
    assert not can_move(status, ImageStatus.ERROR)


def test_what_waits_and_what_a_worker_may_have_left_is_claimed() -> None:
    claimable = {status for status in ImageStatus if can_claim(status)}
    assert claimable == {ImageStatus.PENDING, ImageStatus.EMBEDDING, ImageStatus.INDEXING}
    assert not claimable & SETTLED
