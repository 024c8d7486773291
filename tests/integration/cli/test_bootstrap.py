"""`likeness bootstrap`, on real PostgreSQL and S3."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from minio import Minio

from common.serving import serving
from deploy.local.ports import choose_ports
from deploy.local.stores import Stores
from tests.fakes.embedder_server import MODEL, EmbedderServer
from tests.fakes.minio_server import MinioServer
from tests.fakes.qdrant_server import QdrantServer
from tests.fixtures.cli import Run

_NAME = 'role "of" a server'
_ENCODED = "role%20%22of%22%20a%20server"
_SERVICE = f"{_ENCODED}:it's%20new@"


@pytest.fixture
async def no_leftovers(stores: Stores) -> AsyncIterator[None]:
    yield
    connection = await asyncpg.connect(stores.database_url.replace("+asyncpg", ""))
    await connection.execute('DROP DATABASE IF EXISTS "role ""of"" a server"')
    await connection.execute('DROP ROLE IF EXISTS "role ""of"" a server"')
    await connection.close()


def _service_url(stores: Stores, password: str) -> str:
    server = stores.database_url.split("@")[1].split("/")[0]
    return f"postgresql+asyncpg://{_ENCODED}:{password}@{server}/{_ENCODED}"


async def test_the_services_get_a_role_that_owns_its_database_and_nothing_else(
    run: Run, stores: Stores, no_leftovers: None
) -> None:
    url = _service_url(stores, "it's%20new")
    settings = {"DATABASE__URL": url, "BOOTSTRAP__DATABASE_URL": stores.database_url}
    first = await run("bootstrap", "stores", **settings)
    assert (first.status, "made ready" in first.out, first.err) == (0, True, "")
    second = await run("bootstrap", "stores", **settings)
    assert (second.status, "are there" in second.out) == (0, True)
    assert (await run("migrate", DATABASE__URL=url)).status == 0
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    rights = await connection.fetchrow(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = current_user"
    )
    await connection.close()
    assert rights is not None
    assert not any(rights)


async def test_a_password_that_was_changed_in_the_settings_is_changed_in_the_server(
    run: Run, stores: Stores, no_leftovers: None
) -> None:
    for password in ("first", "second"):
        settings = {"DATABASE__URL": _service_url(stores, password), "BOOTSTRAP__DATABASE_URL": stores.database_url}
        ran = await run("bootstrap", "stores", **settings)
        assert (ran.status, "made ready" in ran.out) == (0, True)


async def test_an_administrator_who_is_refused_is_named_without_the_password(run: Run, stores: Stores) -> None:
    admin = stores.database_url.replace("://likeness:", "://likeness:wrong")
    url = _service_url(stores, "of-the-service")
    ran = await run("bootstrap", "stores", DATABASE__URL=url, BOOTSTRAP__DATABASE_URL=admin)
    assert (ran.status, "BOOTSTRAP__DATABASE_URL" in ran.err) == (2, True)
    assert "wrong" not in ran.err + ran.out
    assert "of-the-service" not in ran.err + ran.out


async def test_without_an_administrator_the_services_own_key_has_to_do(run: Run, stores: Stores) -> None:
    ran = await run("bootstrap", "stores", S3__BUCKET="bootstrapped")
    assert (ran.status, ran.out) == (0, "Bucket bootstrapped is there.\n")
    ran = await run("bootstrap", "stores", S3__ACCESS_KEY="nobody", S3__SECRET_KEY="nothing-at-all")
    assert (ran.status, "it refuses S3__ACCESS_KEY" in ran.err) == (2, True)


async def test_a_store_that_is_down_is_waited_for(run: Run, stores: Stores) -> None:
    nowhere = "postgresql+asyncpg://somebody:secret@127.0.0.1:1/somewhere"
    ran = await run("bootstrap", "stores", "--wait", 0, DATABASE__URL=nowhere, BOOTSTRAP__DATABASE_URL=nowhere)
    assert (ran.status, "PostgreSQL" in ran.err) == (3, True)


async def test_a_store_whose_users_can_t_be_made_here_names_what_is_to_be_done(run: Run, stores: Stores) -> None:
    ran = await run(
        "bootstrap",
        "stores",
        BOOTSTRAP__S3_ACCESS_KEY=stores.s3_access_key,
        BOOTSTRAP__S3_SECRET_KEY=stores.s3_secret_key,
        S3__ACCESS_KEY="nobody",
        S3__SECRET_KEY="nothing-at-all",
    )
    assert ran.status == 2
    assert "make one there" in ran.err
    assert "s3:PutObject" in ran.err
    listing = Minio(
        endpoint=stores.s3_endpoint.removeprefix("http://"),
        access_key=stores.s3_access_key,
        secret_key=stores.s3_secret_key,
        secure=False,
    )
    assert "minio" not in [bucket.name for bucket in listing.list_buckets()]  # it took none of the wishes for objects


async def test_in_a_minio_the_services_get_a_user_who_may_use_their_bucket_alone(run: Run) -> None:
    (port,) = choose_ports(1)
    server = MinioServer("administrator", "administrators-secret")
    settings = {
        "S3__ENDPOINT": f"http://127.0.0.1:{port}",
        "S3__ACCESS_KEY": "service",
        "S3__SECRET_KEY": "services-secret",
        "BOOTSTRAP__S3_ACCESS_KEY": "administrator",
        "BOOTSTRAP__S3_SECRET_KEY": "administrators-secret",
    }
    async with serving(server.app(), "127.0.0.1", port):
        first = await run("bootstrap", "stores", **settings)
        second = await run("bootstrap", "stores", **settings)
    assert (first.status, first.out) == (0, "Bucket likeness is there, and a user made for it.\n")
    assert (second.status, second.out) == (0, "Bucket likeness is there.\n")
    assert server.secrets == {"service": "services-secret"}
    statements = server.policies[server.granted["service"]]["Statement"]
    assert {resource for statement in statements for resource in statement["Resource"]} == {
        "arn:aws:s3:::likeness",
        "arn:aws:s3:::likeness/*",
    }
    assert server.buckets == {"likeness": {}}  # the probe is gone


async def test_collections_are_made_for_the_model_that_the_embedder_serves(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder_port, qdrant_port = choose_ports(2)
    points = {"count": 0}
    monkeypatch.setattr(QdrantServer, "_count", lambda *_: points)
    qdrant = QdrantServer()
    settings = {
        "EMBEDDER__URL": f"http://127.0.0.1:{embedder_port}",
        "QDRANT__URL": f"http://127.0.0.1:{qdrant_port}",
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(EmbedderServer().app(), "127.0.0.1", embedder_port))
        down = await run("bootstrap", "collections", "--wait", 0, **settings)
        assert down.status == 3
        await stack.enter_async_context(serving(qdrant.app(), "127.0.0.1", qdrant_port))
        first = await run("bootstrap", "collections", **settings)
        second = await run("bootstrap", "collections", **settings)
        asked = await _take_operations(database_url)
        points["count"] = 1
        third = await run("bootstrap", "collections", **settings)
    assert (first.status, first.out) == (0, second.out)
    assert MODEL.name in first.out
    assert asked == ["index_came_back"]  # an empty collection may be one that was lost
    assert third.out == first.out
    assert await _take_operations(database_url) == []


async def _take_operations(database_url: str) -> list[str]:
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        return [row["origin"] for row in await connection.fetch("DELETE FROM operations RETURNING origin")]
    finally:
        await connection.close()
