"""What the command line says of itself."""

from tests.fixtures.cli import Run


async def test_help_names_every_command_and_the_exit_statuses(run: Run) -> None:
    ran = await run("--help")
    assert ran.status == 0
    assert all(
        command in ran.out
        for command in ("status", "requeue", "inspect", "import", "migrate", "reembed", "models", "retire")
    )
    for command in ("status", "requeue", "inspect", "import", "migrate", "reembed", "models", "retire"):
        assert "Exit status: 0 fine" in (await run(command, "--help")).out
