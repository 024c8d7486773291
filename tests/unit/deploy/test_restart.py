from deploy.local.restart import RestartPolicy


def test_deaths_in_a_row_are_answered_ever_later_and_then_not_at_all() -> None:
    policy = RestartPolicy(max_deaths=4, first_delay_s=0.5)

    assert [policy.delay_after_death(0) for _ in range(4)] == [0.5, 1.0, 2.0, None]


def test_a_process_that_was_stable_starts_with_a_clean_record() -> None:
    policy = RestartPolicy(max_deaths=2, stable_s=30, first_delay_s=0.5)

    assert [policy.delay_after_death(ready) for ready in (30, 31, 3600)] == [0.5, 0.5, 0.5]


def test_being_ready_for_a_moment_is_not_being_stable() -> None:
    policy = RestartPolicy(max_deaths=2, stable_s=30)

    assert policy.delay_after_death(29.9) is not None
    assert policy.delay_after_death(29.9) is None
