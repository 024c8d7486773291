"""What runs on the stores: the schema, then the embedder with the right model, then the app."""

import asyncio
from collections.abc import Sequence

from alembic.util import CommandError

from api.settings import ApiSettings
from common.db.migrate import upgrade
from common.starting import check_settings
from deploy.local.errors import WrongSchema
from deploy.local.home import Home
from deploy.local.model import choose_model, find_live_models
from deploy.local.ports import choose_ports
from deploy.local.services import PythonService, create_app, create_embedder
from deploy.local.stores import Stores
from embedder.settings import Settings as EmbedderServiceSettings
from worker.settings import WorkerSettings


async def assemble(home: Home, port: int, stores: Stores) -> Sequence[PythonService]:
    """Migrate, choose the model, and return embedder and app, the app on `port`.

    Raises:
        SettingsInvalid: settings of one of the services are wrong.
        WrongSchema: a newer version has written this data.
        WrongModel: the user asks for another model than the images here are indexed with.
    """
    ours: dict[str, str | None] = {**stores.environment(), "QDRANT__URL": None}
    check_settings(EmbedderServiceSettings, ApiSettings, WorkerSettings, above=ours)
    configured = EmbedderServiceSettings().embedder
    try:
        await asyncio.to_thread(upgrade, stores.database_url)
    except CommandError as error:
        raise WrongSchema(f"{home.path} was last used by a newer version of Likeness: {error}") from error
    model = choose_model(configured, await find_live_models(stores.database_url))
    embedder = create_embedder(choose_ports(1)[0], model)
    return embedder, create_app(port, stores.environment(), embedder, home.folder("qdrant"))
