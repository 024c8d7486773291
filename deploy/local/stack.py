"""The local stack from top to bottom: data folder, stores, and the services on them."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from rich.markup import escape

from common.connection_file import API_URL
from deploy.local.connection import connection_file
from deploy.local.display import TerminalDisplay
from deploy.local.home import Home
from deploy.local.launcher import Launcher
from deploy.local.lock import locked
from deploy.local.ports import LOOPBACK, check_port
from deploy.local.services import PythonService
from deploy.local.stores import Stores
from deploy.local.supervisor import Supervisor

ASSEMBLY = "deploy.local.assembly"


class Assembly(Protocol):
    """What runs on the stores; a module has these functions."""

    def check(self, port: int, stores: Stores) -> None:
        """Refuse settings that are wrong, before anything runs; `port` is the public one.

        Raises:
            LikenessError, StackError: in words for the person at the terminal.
        """
        ...

    async def assemble(self, home: Home, port: int, stores: Stores) -> Sequence[PythonService]:
        """Return the services on the running stores, the public one last.

        They are started at once, as each takes a while to import what it needs, and stopped one after the other, the
        last first.
        """
        ...


async def run_stack(path: Path, port: int, display: TerminalDisplay, assembly: str = ASSEMBLY) -> None:
    """Run everything on the data folder `path` until cancelled, and leave no process behind.

    Args:
        path: the data folder.
        port: where UI and API listen.
        display: what is going on, for people.
        assembly: names an `Assembly`. By name, as importing it takes a second.

    Raises:
        SettingsInvalid: settings are wrong; nothing was started.
        StackError: it can't start, or a service can't be kept running.
    """
    home = Home(path)
    url = f"http://{LOOPBACK}:{port}"
    async with locked(home, url) as lock:
        check_port(port)
        display.say(f"Likeness starts on {escape(str(home.path))}; Ctrl-C stops it.")
        stores = Stores(home)
        parts = cast("Assembly", import_module(assembly))
        parts.check(port, stores)
        async with Supervisor(Launcher(home.logs, lock), display) as supervisor:
            # Inside, so that at the end the file goes first: nobody is sent to what is stopping.
            with connection_file(home) as publish:
                with display.starting():
                    await supervisor.start(stores.services)
                    services = await parts.assemble(home, port, stores)
                    # The app's settings name all it talks to.
                    publish({API_URL: url, **stores.environment(), **services[-1].settings})
                    await supervisor.start(*([service] for service in services))
                _announce(home, services, display)
                await supervisor.watch()


def _announce(home: Home, services: Sequence[PythonService], display: TerminalDisplay) -> None:
    *others, app = services
    display.say(f"\n[bold green]Likeness is ready:[/] [bold]{app.url}[/]")
    display.say(f"  data   {escape(str(home.path))}\n  logs   {escape(str(home.logs))}")
    for service in others:
        display.say(f"  {service.name:<12} {service.url}")
    if app.answer.get("demo"):
        display.warn(
            "DEMO MODEL",
            "The small bundled demo model is in use: it knows simple drawn shapes, colours and counts, not photos. "
            "For a real model start on a new data folder (LIKENESS_HOME) where its weights can be downloaded, or name "
            "a local checkpoint with EMBEDDER__MODEL and EMBEDDER__PRETRAINED.",
        )
