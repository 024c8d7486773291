"""Our own services as children of the local stack: the embedder, and api with worker in one process."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from common.tls import verify
from deploy.local.launcher import Launcher
from deploy.local.ports import LOOPBACK
from deploy.local.service import NotReady


class PythonService:
    """A Python module that serves HTTP and says on `/ready` whether it is ready."""

    stop_signal = signal.SIGTERM
    # However long weights take to download, `/ready` tells how it stands; and only dying ends the wait.
    start_timeout_s: float | None = None

    def __init__(self, name: str, module: str, port: int, settings: Mapping[str, str], grace_s: float) -> None:
        self.name = name
        self.url = f"http://{LOOPBACK}:{port}"
        self.grace_s = grace_s
        self.answer: Mapping[str, Any] = {}
        """What `/ready` answered last."""
        self._module = module
        self._settings = settings

    async def prepare(self, launcher: Launcher) -> None:
        """Nothing is to be prepared."""

    def command(self) -> list[str]:
        """Return the module's command line."""
        return [sys.executable, "-m", self._module]

    def environment(self) -> dict[str, str]:
        """Return the user's environment, and over it the settings that belong to this stack."""
        ours = self._settings.keys() | {f"{name}_FILE" for name in self._settings}
        kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        return {"PYTHONUNBUFFERED": "1", **kept, **self._settings}

    def leftovers(self) -> list[Path]:
        """Return nothing: it keeps to its folder."""
        return []

    async def probe(self) -> None:
        """Return when `/ready` answers 200."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5, verify=verify(self.url)) as client:
                response = await client.get(f"{self.url}/ready")
                self.answer = response.json()
        except (httpx.HTTPError, ValueError):
            raise NotReady from None
        if response.status_code != httpx.codes.OK:
            raise NotReady(_reason(self.answer))


def create_embedder(port: int, model: Mapping[str, str]) -> PythonService:
    """Return the embedder; `model` holds the settings that choose its model."""
    settings = {"EMBEDDER__HOST": LOOPBACK, "EMBEDDER__PORT": str(port), **model}
    return PythonService("embedder", "embedder", port, settings, grace_s=10)


def create_app(port: int, stores: Mapping[str, str], embedder: PythonService, vectors: Path) -> PythonService:
    """Return api and worker; `stores` holds the settings that name the stores, `vectors` is the index's folder."""
    settings = {
        "HTTP__HOST": LOOPBACK,
        "HTTP__PORT": str(port),
        "EMBEDDER__URL": embedder.url,
        "QDRANT__PATH": str(vectors),
        "QDRANT__URL": "",  # the vector index here is the embedded one, whatever the user's files say
        **stores,
    }
    return PythonService("app", "deploy.local.app", port, settings, grace_s=30)


def _reason(answer: Mapping[str, Any]) -> str:
    """Return what a service says it waits for: its `detail`, or those of the dependencies that are not well."""
    dependencies = answer.get("dependencies", [])
    details = [f"{each['name']}: {each['detail']}" for each in dependencies if not each["ok"]]
    return "; ".join(details) or str(answer.get("detail", ""))
