"""What runs on the stores: the schema, then the embedder with the right model, then the app."""

import asyncio
from collections.abc import Sequence

from alembic.util import CommandError
from pydantic import ValidationError

from common.db.migrate import upgrade
from deploy.local.errors import SettingsInvalid, WrongSchema
from deploy.local.home import Home
from deploy.local.model import choose_model, find_live_models
from deploy.local.ports import choose_ports
from deploy.local.services import PythonService, create_app, create_embedder
from deploy.local.stores import Stores
from embedder.settings import Settings as EmbedderServiceSettings


async def assemble(home: Home, port: int, stores: Stores) -> Sequence[PythonService]:
    """Return embedder and app, the app on `port`; raises as `prepare`."""
    embedder = create_embedder(choose_ports(1)[0], await prepare(home, stores))
    return embedder, create_app(port, stores.environment(), embedder, home.folder("qdrant"))


async def prepare(home: Home, stores: Stores) -> dict[str, str]:
    """Migrate, choose the model, and return the embedder's settings that say which.

    Raises:
        SettingsInvalid: the embedder's settings can't be read.
        WrongSchema: a newer version has written this data.
        WrongModel: the user asks for another model than the images here are indexed with.
    """
    try:
        configured = EmbedderServiceSettings().embedder
    except ValidationError as error:
        raise SettingsInvalid(f"the environment holds a setting that is none: {error}") from error
    try:
        await asyncio.to_thread(upgrade, stores.database_url)
    except CommandError as error:
        raise WrongSchema(f"{home.path} was last used by a newer version of Likeness: {error}") from error
    return choose_model(configured, await find_live_models(stores.database_url))
