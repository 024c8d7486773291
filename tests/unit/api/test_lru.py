"""A bounded cache: least lately used goes first, and nothing counts for longer than it may."""

from api.lru import Lru


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_bounded_and_lets_go_of_what_was_used_least_lately() -> None:
    cache: Lru[int, str] = Lru(3)
    for number in range(3):
        cache.keep(number, str(number))
    assert cache.find(0) == "0"
    cache.keep(2, "two")
    cache.keep(3, "3")
    assert [cache.find(number) for number in range(4)] == ["0", None, "two", "3"]
    for number in range(1000):
        cache.keep(number, "")
    assert len(cache) == 3


def test_one_without_room_keeps_nothing() -> None:
    cache: Lru[int, str] = Lru(0)
    cache.keep(1, "1")
    assert (cache.find(1), len(cache)) == (None, 0)


def test_entries_count_for_a_while() -> None:
    clock = Clock()
    cache: Lru[int, str] = Lru(3, ttl_s=10, clock=clock)
    cache.keep(1, "1")
    clock.now = 9.9
    assert cache.find(1) == "1"
    cache.keep(2, "2")
    clock.now = 10
    assert (cache.find(1), cache.find(2), len(cache)) == (None, "2", 1)
    cache.keep(2, "again")
    clock.now = 19.9
    assert cache.find(2) == "again"
