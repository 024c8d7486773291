"""Runs the migrations on the address given by `common.db.migrate`."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.db import duplicate_models, models  # noqa: F401 - importing the tables fills Base.metadata
from common.db.base import Base


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        # Two services that migrate at once take turns.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(720_575_940_379)")
        context.run_migrations()


async def main() -> None:
    engine = create_async_engine(context.config.attributes["database_url"], poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(main())
