"""The processes of a cluster on one machine."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.launcher import Launcher
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.service import NotReady
from deploy.local.services import PythonService

DRAIN_S = 1.0
"""How long an api goes on serving when it is told to stop, unless `HTTP__DRAIN_S` says otherwise."""
_LOOK_S = 0.2


class Worker(PythonService):
    """A worker. It agrees on the model with an embedder before it works, and ends if there is none: so it waits."""

    def __init__(
        self, name: str, port: int, settings: Mapping[str, str], needs: Sequence[Sequence[PythonService]]
    ) -> None:
        super().__init__(name, "worker.main", port, {**settings, "WORKER__HEALTH_PORT": str(port)}, grace_s=30)
        self._needs = needs

    async def prepare(self, launcher: Launcher) -> None:
        """Wait until one of each kind that it needs is ready."""
        del launcher
        for kind in self._needs:
            while not any(await asyncio.gather(*map(_is_ready, kind))):  # noqa: ASYNC110 - seen by an outsider
                await asyncio.sleep(_LOOK_S)


def create_vectors(port: int, folder: Path, api_key: str) -> PythonService:
    """Return the process that owns the embedded index; without a key it obeys every program on this machine."""
    settings = {
        "VECTORS__HOST": LOOPBACK,
        "VECTORS__PORT": str(port),
        "QDRANT__PATH": str(folder),
        "QDRANT__URL": "",  # whatever the user's files say, as below
        "QDRANT__API_KEY": api_key,
    }
    return PythonService("vectors", "deploy.cluster.vectors", port, settings, grace_s=10)


def create_workers(
    number: int,
    settings: Mapping[str, str],
    embedders: Sequence[PythonService],
    vectors: Sequence[PythonService] = (),
) -> list[PythonService]:
    """Return `number` workers; `settings` name the stores and the vector index, `vectors` is its process, if any."""
    ours = _wire(settings, embedders)
    needs = [kind for kind in (vectors, embedders) if kind]
    return [Worker(f"worker-{which}", port, ours, needs) for which, port in enumerate(choose_ports(number), 1)]


def create_apis(
    ports: Sequence[int], settings: Mapping[str, str], embedders: Sequence[PythonService]
) -> list[PythonService]:
    """Return an api for each port; `settings` name the stores and the vector index."""
    drain_s = os.environ.get("HTTP__DRAIN_S", f"{DRAIN_S}")
    ours = {"HTTP__HOST": LOOPBACK, "HTTP__DRAIN_S": drain_s, **_wire(settings, embedders)}
    return [
        PythonService(f"api-{number}", "api.main", port, {**ours, "HTTP__PORT": str(port)}, grace_s=30)
        for number, port in enumerate(ports, 1)
    ]


def _wire(settings: Mapping[str, str], embedders: Sequence[PythonService]) -> dict[str, str]:
    """Return what all need that share the vector index: they ask a server, and open no folder."""
    return {"QDRANT__PATH": "", **settings, "EMBEDDER__URL": ",".join(embedder.url for embedder in embedders)}


async def _is_ready(service: PythonService) -> bool:
    try:
        await service.probe()
    except NotReady:
        return False
    return True
