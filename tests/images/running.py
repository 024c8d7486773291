"""The environments at work: the jobs of `compose.yaml` in their order, then the services, on real stores."""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from common.tls import verify
from deploy.local.ports import LOOPBACK, choose_ports
from deploy.local.stores import Stores
from tests.images.compose import read_services
from tests.images.environment import Environment, Unproven

_DEADLINE_S = 300.0
_PAUSE_S = 0.1
_LISTENING = {
    "api": ("HTTP__HOST", "HTTP__PORT"),
    "worker": ("WORKER__HEALTH_HOST", "WORKER__HEALTH_PORT"),
    "embedder": ("EMBEDDER__HOST", "EMBEDDER__PORT"),
}

Say = Callable[[str], None]


class System:
    """The jobs and services of `compose.yaml`, with the addresses of what runs here in place of the containers'."""

    def __init__(self, environments: Mapping[str, Environment], stores: Stores, say: Say) -> None:
        self._environments = environments
        self._services = read_services()
        self._say = say
        *ports, self.qdrant_port = choose_ports(len(_LISTENING) + 1)
        self._ports = dict(zip(_LISTENING, ports, strict=True))
        server = stores.database_url.split("@")[1].split("/")[0]
        self._known = stores.environment() | {
            "BOOTSTRAP__DATABASE_URL": stores.database_url,
            "BOOTSTRAP__S3_ACCESS_KEY": stores.s3_access_key,
            "BOOTSTRAP__S3_SECRET_KEY": stores.s3_secret_key,
            "DATABASE__URL": f"postgresql+asyncpg://of_services:secret@{server}/of_services",
            "S3__REGION": "us-east-1",
            "QDRANT__URL": f"http://{LOOPBACK}:{self.qdrant_port}",
            "QDRANT__API_KEY": "none",
            "EMBEDDER__URL": self.url("embedder"),
            "EMBEDDER__MODEL": "demo",
            "EMBEDDER__PRETRAINED": "",
            "EMBEDDER__ALSO": "",
            "WORKER__DECODE_PROCESSES": "1",
            "LIKENESS_URL": self.url("api"),
            "DOCTOR__MIN_FREE_BYTES": "1",
        }

    def url(self, service: str) -> str:
        """Return where a service is reached."""
        return f"http://{LOOPBACK}:{self._ports[service]}"

    def job(self, name: str) -> None:
        """Run a job twice, as every start does: the second time it has nothing to do, and nothing to complain of."""
        first, _ = (
            self._environments["worker"].run(self._services[name]["command"], self._settings(name)) for _ in range(2)
        )
        self._say(f"{name}: {' '.join(first.splitlines())}")

    @contextmanager
    def service(self, name: str) -> Iterator[None]:
        """Run a service while inside; it is healthy when that begins, and ends in order when it ends."""
        environment = self._environments[name]
        before = environment.files()
        final = environment.file.final
        program, *arguments = final.only("CMD").command
        log = environment.root / "tmp" / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [environment.program(program), *arguments],
                env=environment.variables(self._listening(name) | self._settings(name)),
                cwd=environment.root / "srv",
                stdout=output,
                stderr=output,
            )
        try:
            with _quoting(log):
                self._until(f"{name} is healthy", lambda: self._check_health(environment), process)
                self._until(f"{name} is ready", lambda: _is_ready(self.url(name)), process)
                yield
                process.terminate()
                if (status := process.wait(_DEADLINE_S)) not in (0, -signal.SIGTERM):
                    raise Unproven(f"{name} ended with {status} when it was asked to stop")
        finally:
            process.kill()
            process.wait()
        if written := environment.files() - before:
            raise Unproven(f"{name} writes where a container can't: {sorted(map(str, written))[:5]}")

    def _check_health(self, environment: Environment) -> bool:
        check = environment.file.final.only("HEALTHCHECK").command
        port = environment.file.final.only("EXPOSE").value
        asked = [str(self._ports[environment.service]) if word == port else environment.inside(word) for word in check]
        try:
            environment.run(asked, {})
        except Unproven:
            return False
        return True

    def _settings(self, name: str) -> dict[str, str]:
        """Return the settings that a container of this name is given."""
        return {setting: self._known[setting] for setting in self._services[name]["environment"]}

    def _listening(self, name: str) -> dict[str, str]:
        host, port = _LISTENING[name]
        return {host: LOOPBACK, port: str(self._ports[name])}

    def _until(self, what: str, true: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
        begun = time.monotonic()
        while not true():
            if process.poll() is not None or time.monotonic() - begun > _DEADLINE_S:
                raise Unproven(f"not so: {what}")
            time.sleep(_PAUSE_S)
        self._say(what)


def use(url: str) -> None:
    """Upload a picture, wait until it is searchable, and find it by a text."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    with httpx.Client(base_url=url, trust_env=False, timeout=60, verify=verify(url)) as client:
        answer = client.post("/images/upload", files={"file": ("red.png", picture.getvalue(), "image/png")})
        image = _ok(answer)["images"][0]["id"]
        deadline = time.monotonic() + _DEADLINE_S
        while (found := _ok(client.get(f"/images/{image}")))["status"] != "done":
            if found["status"] == "error" or time.monotonic() > deadline:
                raise Unproven(f"the picture is not indexed: {found}")
            time.sleep(_PAUSE_S)
        results = _ok(client.get("/search/text", params={"q": "red"}))["results"]
        if [result["image"]["id"] for result in results] != [image]:
            raise Unproven(f"the picture is not found: {results}")


@contextmanager
def running_qdrant(port: int, log: Path) -> Iterator[None]:
    """Run the tests' Qdrant server, which keeps to the contract that the real one is held to."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.qdrant_server", str(port)], stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def prove(environments: Mapping[str, Environment], stores: Stores, folder: Path, say: Say) -> None:
    """Run the jobs and the services as `compose.yaml` does, and use them.

    Raises:
        Unproven: something does not work.
    """
    system = System(environments, stores, say)
    system.job("bootstrap")
    system.job("migrate")
    with ExitStack() as stack:
        stack.enter_context(running_qdrant(system.qdrant_port, folder / "qdrant.log"))
        stack.enter_context(system.service("embedder"))
        system.job("collections")
        stack.enter_context(system.service("worker"))
        stack.enter_context(system.service("api"))
        use(system.url("api"))
        say("a picture was uploaded, indexed and found")


@contextmanager
def _quoting(log: Path) -> Iterator[None]:
    try:
        yield
    except Unproven as error:
        raise Unproven(f"{error}\n{log.read_text(errors='replace')[-1500:].strip()}") from error


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", trust_env=False, verify=verify(url)).is_success
    except httpx.TransportError:
        return False


def _ok(response: httpx.Response) -> Any:
    if not response.is_success:
        raise Unproven(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
    return response.json()
