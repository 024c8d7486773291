"""Runs the embedder service: `python -m embedder`."""

import logging
import os

# Idle OpenMP threads sleep instead of spinning. Set before anything loads torch, which reads it once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from common import tracing
from common.arguments import take_none
from common.draining import Drain, serve
from common.log import configure_logging
from common.starting import ending_plainly
from embedder.main import create_app
from embedder.settings import Settings

_KEEPALIVE_S = 15  # more than clients keep an idle connection, so that they close it first
_SHUTDOWN_S = 10


def main() -> None:
    """Serve until told to stop."""
    with ending_plainly():
        settings = Settings()
    configure_logging(settings.log)
    # open_clip reports each of its steps on the root logger itself, to which alone this filter applies.
    logging.getLogger().addFilter(lambda record: record.levelno >= logging.WARNING)
    drain = Drain()
    with tracing.started(settings.tracing, "likeness-embedder"):
        serve(
            create_app(settings, drain=drain),
            drain,
            settings.embedder.drain_s,
            host=settings.embedder.host,
            port=settings.embedder.port,
            timeout_keep_alive=_KEEPALIVE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )


if __name__ == "__main__":
    take_none("embedder", __doc__)
    main()
