"""`make run`: starts the local stack and stops it, with everything it started, on Ctrl-C, SIGTERM or SIGHUP.

`PORT` (8000) and `LIKENESS_HOME` (.likeness) are read from the environment, as are the services' own settings.
"""

import asyncio
import os
import signal
import sys

from rich.console import Console
from rich.markup import escape

from common.arguments import take_none
from common.errors import LikenessError
from deploy.local.display import TerminalDisplay
from deploy.local.errors import PortTaken, StackError
from deploy.local.home import home_path
from deploy.local.stack import ASSEMBLY, run_stack

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(assembly: str = ASSEMBLY) -> int:
    """Run until told to stop; return 0 then, 1 when the stack could not start or go on."""
    display = TerminalDisplay(Console())
    try:
        asyncio.run(_run(_port(), assembly, display))
    except (StackError, LikenessError) as error:
        display.say(f"\n[bold red]Error:[/] {escape(str(error))}")
        return 1
    return 0


async def _run(port: int, assembly: str, display: TerminalDisplay) -> None:
    task = asyncio.create_task(run_stack(home_path(), port, display, assembly))
    asked = False

    def ask() -> None:
        """The first signal stops the stack, a second one hurries it."""
        nonlocal asked
        display.say("\nKilling what still runs." if asked else "\nStopping; once more to hurry.")
        asked = True
        task.cancel()

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, ask)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65_535):
        raise PortTaken(f"PORT={text} is no port: choose a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    take_none("deploy.local", __doc__)
    sys.exit(main())
