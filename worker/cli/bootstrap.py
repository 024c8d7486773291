"""`likeness bootstrap`: make empty stores ready, with the rights to do so."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.console import out, say
from worker.cli.exits import plain_errors


class Part(StrEnum):
    """What is to be made ready."""

    STORES = "stores"
    COLLECTIONS = "collections"


@plain_errors()
def bootstrap(
    part: Annotated[Part, typer.Argument(help="stores: before `likeness migrate`; collections: after it.")],
    wait: Annotated[float, typer.Option(help="Seconds to wait for what is still starting.", min=0)] = 300,
) -> None:
    """Create what services need and must not create themselves; whatever is there already stays as it is.

    stores: the role and the database of DATABASE__URL, by BOOTSTRAP__DATABASE_URL; the bucket, and MinIO's user of
    S3__ACCESS_KEY, who may use that bucket only, by BOOTSTRAP__S3_ACCESS_KEY and BOOTSTRAP__S3_SECRET_KEY.

    collections: those of the models in use. On a new database that is the embedder's.
    """
    run = _stores if part is Part.STORES else _collections
    asyncio.run(run(wait))


# What these import, no other command needs.
async def _stores(wait: float) -> None:
    from worker.bootstrap.bucket import ensure_bucket  # noqa: PLC0415
    from worker.bootstrap.patience import until_available  # noqa: PLC0415
    from worker.bootstrap.postgres import ensure_database  # noqa: PLC0415
    from worker.bootstrap.settings import BootstrapSettings  # noqa: PLC0415

    settings = BootstrapSettings()
    superuser = settings.bootstrap.database_url
    if superuser is not None:
        made = await until_available(lambda: ensure_database(settings.database, superuser), wait, say)
        out.print(f"Role and database {'made ready' if made else 'are there'}.")
    made = await until_available(lambda: ensure_bucket(settings.s3, settings.bootstrap), wait, say)
    out.print(f"Bucket {settings.s3.bucket} is there{', and a user made for it' if made else ''}.")


async def _collections(wait: float) -> None:
    from worker.bootstrap.collections import ensure_collections  # noqa: PLC0415
    from worker.bootstrap.patience import until_available  # noqa: PLC0415
    from worker.bootstrap.settings import BootstrapSettings  # noqa: PLC0415

    settings = BootstrapSettings()
    for collection in await until_available(lambda: ensure_collections(settings), wait, say):
        out.print(f"Collection {collection.name} is there.")
