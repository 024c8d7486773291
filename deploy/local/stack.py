"""The local stack from top to bottom: data folder, stores, and the services on them."""

import asyncio
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

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

Assemble = Callable[[Home, int, Stores], Awaitable[Sequence[PythonService]]]
"""From the data folder, the public port and the running stores to the services, the public one last. They are started
at once, as each takes a while to import what it needs, and stopped one after the other, the last first."""

ASSEMBLY = "deploy.local.assembly:assemble"


async def run_stack(path: Path, port: int, display: TerminalDisplay, assembly: str = ASSEMBLY) -> None:
    """Run everything on the data folder `path` until cancelled, and leave no process behind.

    Args:
        path: the data folder.
        port: where UI and API listen.
        display: what is going on, for people.
        assembly: names an `Assemble`. By name, as it is imported while the stores start: SQLAlchemy takes a second.

    Raises:
        StackError: it can't start, or a service can't be kept running.
    """
    home = Home(path)
    url = f"http://{LOOPBACK}:{port}"
    async with locked(home, url) as lock:
        check_port(port)
        display.say(f"Likeness starts on {escape(str(home.path))}; Ctrl-C stops it.")
        stores = Stores(home)
        async with Supervisor(Launcher(home.logs, lock), display) as supervisor:
            # Inside, so that at the end the file goes first: nobody is sent to what is stopping.
            with connection_file(home) as publish:
                with display.starting():
                    assemble, _ = await asyncio.gather(_load(assembly), supervisor.start(stores.services))
                    services = await assemble(home, port, stores)
                    # The app's settings name all it talks to.
                    publish({API_URL: url, **stores.environment(), **services[-1].settings})
                    await supervisor.start(*([service] for service in services))
                _announce(home, services[-1], display)
                await supervisor.watch()


async def _load(assembly: str) -> Assemble:
    assemble: Assemble = await asyncio.to_thread(pkgutil.resolve_name, assembly)
    return assemble


def _announce(home: Home, app: PythonService, display: TerminalDisplay) -> None:
    display.say(f"\n[bold green]Likeness is ready:[/] [bold]{app.url}[/]")
    display.say(f"  data   {escape(str(home.path))}\n  logs   {escape(str(home.logs))}")
    if app.answer.get("demo"):
        display.warn(
            "DEMO MODEL",
            "The small bundled demo model is in use: it knows simple drawn shapes, colours and counts, not photos. "
            "For a real model start on a new data folder (LIKENESS_HOME) where its weights can be downloaded, or name "
            "a local checkpoint with EMBEDDER__MODEL and EMBEDDER__PRETRAINED.",
        )
