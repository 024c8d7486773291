import threading

from embedder.turns import TurnQueue


def queue_of(*, urgent: int, patient: int) -> TurnQueue[str]:
    queue: TurnQueue[str] = TurnQueue()
    for number in range(patient):
        queue.put(f"p{number}", urgent=False)
    for number in range(urgent):
        queue.put(f"u{number}", urgent=True)
    queue.close()
    return queue


def order(queue: TurnQueue[str]) -> list[str]:
    return list(iter(queue.get, None))


def test_urgent_jobs_overtake_and_each_line_keeps_its_order() -> None:
    assert order(queue_of(urgent=3, patient=2)) == ["u0", "u1", "u2", "p0", "p1"]


def test_patient_jobs_have_every_fifth_turn_however_many_are_urgent() -> None:
    taken = order(queue_of(urgent=11, patient=2))

    assert taken == ["u0", "u1", "u2", "u3", "p0", "u4", "u5", "u6", "u7", "p1", "u8", "u9", "u10"]


def test_urgent_jobs_that_overtook_nobody_do_not_count() -> None:
    queue: TurnQueue[str] = TurnQueue()
    for number in range(9):
        queue.put(f"early{number}", urgent=True)
        assert queue.get() == f"early{number}"
    queue.put("p", urgent=False)
    queue.put("u", urgent=True)
    queue.close()

    assert order(queue) == ["u", "p"]


def test_who_waits_is_woken_by_a_job_and_by_the_end() -> None:
    queue: TurnQueue[str] = TurnQueue()
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(order(queue)))
    thread.start()
    queue.put("a", urgent=False)
    queue.put("b", urgent=True)
    queue.close()
    thread.join(30)

    assert sorted(taken) == ["a", "b"]
