"""A report counts everything, names a bounded number, and survives being written down."""

from worker.audit.report import MAX_ITEMS, Mismatch, Report


def test_everything_is_counted_and_a_thousand_are_named() -> None:
    report = Report(fix=False, sample=None)
    for number in range(MAX_ITEMS + 5):
        report.add(Mismatch.VECTOR_MISSING, number)
    tally = report.mismatches[Mismatch.VECTOR_MISSING]
    assert (tally.count, len(tally.items)) == (MAX_ITEMS + 5, MAX_ITEMS)
    assert report.count(Mismatch.VECTOR_MISSING) == MAX_ITEMS + 5
    assert report.count(Mismatch.OBJECT_MISSING) == 0


def test_left_is_what_was_not_mended() -> None:
    report = Report(fix=True, sample=None)
    report.add(Mismatch.VECTOR_MISSING, "a", fixed=True)
    report.add(Mismatch.VECTOR_MISSING, "b")
    report.add(Mismatch.OBJECT_MISSING, "c", "in words")
    assert (report.found, report.left) == (3, 2)


def test_reports_share_nothing() -> None:
    one, other = Report(fix=True, sample=None), Report(fix=True, sample=None)
    one.add(Mismatch.VECTOR_MISSING, "a")
    one.checked.images += 1
    assert (other.found, other.checked.images) == (0, 0)
    assert Report(fix=True, sample=None).mismatches == {}


def test_a_report_that_was_written_down_is_read_as_it_was() -> None:
    report = Report(fix=True, sample=7, in_motion=2)
    report.add(Mismatch.OBJECT_MISSING, "a", "in words", fixed=True)
    data = report.model_dump(mode="json")
    assert Report.model_validate(data) == report
    assert data["mismatches"] == {
        "object_missing": {"count": 1, "fixed": 1, "items": [{"id": "a", "detail": "in words"}]}
    }
