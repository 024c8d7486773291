"""What runs on the stores of a cluster on one machine: several processes of each service, as on several machines.

Each api has a port of its own, as it would have an address of its own behind a load balancer. All use one vector index
through the server adapter: the Qdrant server at `QDRANT_URL`, else a process that owns the embedded index of this data
folder and speaks as much of Qdrant's interface as the adapter does (`vectors.py`).
"""

import os
import secrets
from collections.abc import Sequence

from deploy.cluster.services import create_apis, create_vectors, create_workers
from deploy.cluster.settings import ClusterSettings, VectorProcessSettings
from deploy.local.assembly import check_services, prepare
from deploy.local.home import Home
from deploy.local.ports import check_port, choose_ports
from deploy.local.services import PythonService, create_embedder
from deploy.local.stores import Stores


def check(port: int, stores: Stores) -> None:
    """Refuse settings that are wrong, and ports of apis that are taken.

    Raises:
        PortTaken: a port of another api is taken.
        SettingsInvalid, ConfigurationError: as `deploy.local.assembly.check_services`.
    """
    index = {"QDRANT__URL": _named_index(), "QDRANT__PATH": None}
    check_services(stores, index, ClusterSettings, VectorProcessSettings)
    for each in _api_ports(port):
        check_port(each)


async def assemble(home: Home, port: int, stores: Stores) -> Sequence[PythonService]:
    """Return all processes, the api on `port` last; raises as `deploy.local.assembly.prepare`."""
    size = ClusterSettings().cluster
    model = await prepare(home, stores)
    embedders = [
        create_embedder(each, model, f"embedder-{number}")
        for number, each in enumerate(choose_ports(size.embedders), 1)
    ]
    own, settings = choose_index(home)
    settings |= stores.environment()
    apis = create_apis(_api_ports(port), settings, embedders)
    return [*own, *embedders, *create_workers(size.workers, settings, embedders, own), *reversed(apis)]


def choose_index(home: Home) -> tuple[list[PythonService], dict[str, str]]:
    """Return the process for the vector index, if it takes one of ours, and the settings that name the index."""
    if url := _named_index():
        return [], {"QDRANT__URL": url}
    api_key = secrets.token_hex(16)
    vectors = create_vectors(choose_ports(1)[0], home.folder("qdrant"), api_key)
    return [vectors], {"QDRANT__URL": vectors.url, "QDRANT__API_KEY": api_key}


def _api_ports(port: int) -> range:
    return range(port, port + ClusterSettings().cluster.apis)


def _named_index() -> str | None:
    return os.environ.get("QDRANT_URL") or os.environ.get("QDRANT__URL") or None
