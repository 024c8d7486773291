"""What runs on the stores: the schema, then the embedder with the right model, then the app."""

import asyncio
from collections.abc import Mapping, Sequence

from alembic.util import CommandError

from api.settings import ApiSettings
from common.db.migrate import upgrade
from common.settings import ServiceSettings
from common.starting import check_settings
from deploy.local.errors import WrongSchema
from deploy.local.home import Home
from deploy.local.model import choose_model, find_live_models
from deploy.local.ports import choose_ports
from deploy.local.services import PythonService, create_app, create_embedder
from deploy.local.stores import Stores
from embedder.settings import Settings as EmbedderServiceSettings
from worker.extensions import extension_settings
from worker.settings import WorkerSettings


def check(_port: int, stores: Stores) -> None:
    """Refuse settings that are wrong; raises as `check_services`."""
    check_services(stores, {"QDRANT__URL": None})


def check_services(stores: Stores, index: Mapping[str, str | None], *others: type[ServiceSettings]) -> None:
    """Refuse settings of the services that are wrong.

    Args:
        stores: what is laid over the user's settings.
        index: likewise, of the vector index.
        others: more settings to look at.

    Raises:
        SettingsInvalid: with all that is wrong.
        ConfigurationError: an extension is none.
    """
    above = {**stores.environment(), **index}
    check_settings(EmbedderServiceSettings, ApiSettings, WorkerSettings, *extension_settings(), *others, above=above)


async def assemble(home: Home, port: int, stores: Stores) -> Sequence[PythonService]:
    """Return embedder and app, the app on `port`; raises as `prepare`."""
    embedder = create_embedder(choose_ports(1)[0], await prepare(home, stores))
    return embedder, create_app(port, stores.environment(), embedder, home.folder("qdrant"))


async def prepare(home: Home, stores: Stores) -> dict[str, str]:
    """Migrate, choose the model, and return the embedder's settings that say which.

    Raises:
        WrongSchema: a newer version has written this data.
        WrongModel: the user asks for another model than the images here are indexed with.
    """
    configured = EmbedderServiceSettings().embedder
    try:
        await asyncio.to_thread(upgrade, stores.database_url)
    except CommandError as error:
        raise WrongSchema(f"{home.path} was last used by a newer version of Likeness: {error}") from error
    return choose_model(configured, await find_live_models(stores.database_url))
