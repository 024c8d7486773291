"""The operator's command line, `likeness`: one module per command."""

import typer

from common.log import configure_logging
from common.settings import LogSettings
from worker.cli.auditing import audit
from worker.cli.bootstrap import bootstrap
from worker.cli.calibrating import calibrate
from worker.cli.doctor import doctor
from worker.cli.exits import EPILOG
from worker.cli.importing import import_images
from worker.cli.inspection import inspect_image
from worker.cli.migrate import migrate
from worker.cli.models import models, retire
from worker.cli.reembedding import reembed
from worker.cli.requeue import requeue
from worker.cli.searches import show_searches
from worker.cli.status import status

app = typer.Typer(no_args_is_help=True, add_completion=False, epilog=EPILOG, pretty_exceptions_show_locals=False)

app.command("status", epilog=EPILOG)(status)
app.command("doctor", epilog=EPILOG)(doctor)
app.command("requeue", epilog=EPILOG)(requeue)
app.command("inspect", epilog=EPILOG)(inspect_image)
app.command("audit", epilog=EPILOG)(audit)
app.command("calibrate", epilog=EPILOG)(calibrate)
app.command("searches", epilog=EPILOG)(show_searches)
app.command("reembed", epilog=EPILOG)(reembed)
app.command("models", epilog=EPILOG)(models)
app.command("retire", epilog=EPILOG)(retire)
app.command("import", epilog=EPILOG)(import_images)
app.command("bootstrap", epilog=EPILOG)(bootstrap)
app.command("migrate", epilog=EPILOG)(migrate)


@app.callback()
def configure() -> None:
    """Operate Likeness.

    Settings come from the services' environment variables: DATABASE__URL, REDIS__URL, LIKENESS_URL.

    Where DATABASE__URL is not set, the local stack that runs on LIKENESS_HOME (default: .likeness) is used.
    """
    configure_logging(LogSettings(level="WARNING", format="console"))
