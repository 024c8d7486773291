"""What the command line says of itself."""

from tests.fixtures.cli import Run


async def test_help_names_every_command_and_the_exit_statuses(run: Run) -> None:
    ran = await run("--help")
    assert ran.status == 0
    commands = (
        "status",
        "doctor",
        "requeue",
        "inspect",
        "calibrate",
        "searches",
        "reembed",
        "models",
        "retire",
        "import",
        "bootstrap",
        "migrate",
    )
    for command in commands:
        assert command in ran.out
        assert "Exit status: 0 fine" in (await run(command, "--help")).out
