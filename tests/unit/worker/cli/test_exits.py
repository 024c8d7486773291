import pytest
import typer

from common.errors import ConfigurationError, DatabaseUnavailable, NotFound, StorageUnavailable
from worker.cli.exits import Exit, plain_errors


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (DatabaseUnavailable("PostgreSQL: refused"), 3, "PostgreSQL: refused. The address is DATABASE__URL"),
        (StorageUnavailable("the store is down"), 3, "the store is down"),
        (ConfigurationError("run likeness migrate"), 2, "run likeness migrate"),
        (NotFound("there is no image"), 1, "there is no image"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_expected_errors_end_a_command_in_plain_words(
    error: BaseException, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error.add_note("Here is how to go on.")
    with pytest.raises(typer.Exit) as caught, plain_errors():
        raise error
    said = capsys.readouterr()
    assert caught.value.exit_code == status
    assert said.out == ""
    assert said.err.startswith(words)
    assert said.err.endswith("\nHere is how to go on.\n")


def test_defects_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError


def test_exit_statuses_are_what_the_documentation_says() -> None:
    assert [status.value for status in Exit] == [0, 1, 2, 3, 130]
