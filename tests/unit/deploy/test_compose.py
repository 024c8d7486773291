"""`compose.yaml`: sound by itself, and what it says of our services is true."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.settings import ApiSettings
from common.connection_file import API_URL
from common.settings import ServiceSettings
from common.settings_reference import names
from deploy.docker import make_secrets
from embedder.settings import Settings as EmbedderSettings
from tests.images.compose import FILE, OURS, read_services
from worker.bootstrap.settings import BootstrapSettings
from worker.cli import app
from worker.cli.settings import CliSettings
from worker.doctor.settings import DoctorSettings

_SERVICES = read_services()
_STORES = sorted(_SERVICES.keys() - set(OURS))
_VOLUMES_OF_IMAGES = {
    "postgres": "/var/lib/postgresql",
    "redis": "/data",
    "minio": "/data",
    "seaweedfs": "/data",
}
"""What the stores' images declare as volumes; Qdrant's declares none."""
_SETTINGS: dict[str, type[ServiceSettings]] = {
    "api": ApiSettings,
    "worker": DoctorSettings,  # the worker's own, and the doctor's, who looks after it from within
    "embedder": EmbedderSettings,
    "embedder-gpu": EmbedderSettings,
    "bootstrap": BootstrapSettings,
    "migrate": CliSettings,
    "collections": BootstrapSettings,
}


def test_the_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    given = _SERVICES[name]["environment"].keys()
    assert given
    assert given - {API_URL} <= names(_SETTINGS[name])


def test_the_doctor_in_a_workers_container_is_content_with_its_disk() -> None:
    worker = _SERVICES["worker"]
    size = re.search(r"/tmp:size=(\d+)m", worker["tmpfs"][0])  # noqa: S108
    assert size is not None
    assert int(worker["environment"]["DOCTOR__MIN_FREE_BYTES"]) < int(size[1]) * 1024**2 / 2


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_no_more_than_they_must(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert any("/tmp" in mount for mount in [*service.get("tmpfs", []), *service.get("volumes", [])])  # noqa: S108


@pytest.mark.parametrize("name", ["api", "worker", "embedder", "embedder-gpu"])
def test_what_is_built_is_there(name: str) -> None:
    assert (FILE.parent / _SERVICES[name]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["bootstrap", "migrate", "collections"])
def test_a_job_is_a_command_of_the_workers_image(name: str) -> None:
    program, command, *_ = _SERVICES[name]["command"]
    assert _SERVICES[name]["image"] == _SERVICES["worker"]["image"]
    assert program == "likeness"
    assert command in {each.name for each in app.registered_commands}


@pytest.mark.parametrize("name", _STORES)
def test_a_store_is_pinned_checked_and_out_of_reach(name: str) -> None:
    service = _SERVICES[name]
    assert re.search(r":\S*\d+\.\d+|:RELEASE\.", service["image"])
    assert service["healthcheck"]["test"]
    assert list(service["networks"]) == ["stores"]
    assert "ports" not in service
    assert "mem_limit" in service


@pytest.mark.parametrize(("name", "folder"), _VOLUMES_OF_IMAGES.items())
def test_no_start_leaves_a_nameless_volume_behind(name: str, folder: str) -> None:
    service = _SERVICES[name]
    mounted = [mount.split(":")[1] for mount in service.get("volumes", [])]
    assert folder in [*mounted, *(mount.split(":")[0] for mount in service.get("tmpfs", []))]


def test_only_the_api_is_reached_from_outside_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in _SERVICES.items() if "ports" in service}
    assert published == {"api": ["${API_BIND:-127.0.0.1}:${API_PORT:-8000}:8000"]}


def test_administrators_secrets_are_not_the_services() -> None:
    for name in ("api", "worker", "embedder", "embedder-gpu", "migrate", "collections"):
        assert "ADMIN" not in str(_SERVICES[name]["environment"])


def test_every_secret_is_made_and_none_has_a_default(tmp_path: Path) -> None:
    make_secrets.write(tmp_path / ".env")
    made = set(re.findall(r"^(\w+)=", (tmp_path / ".env").read_text(), re.MULTILINE))
    used = dict(re.findall(r"\$\{(\w+)(:?[?-])", FILE.read_text()))
    assert {name for name, kind in used.items() if "?" in kind} == {n for n in made if not n.startswith("COMPOSE_")}
    assert not [name for name, kind in used.items() if "-" in kind and re.search("PASSWORD|SECRET|KEY", name)]


def test_what_is_waited_for_always_runs_and_can_say_so() -> None:
    waits: list[tuple[str, Any]] = [
        wait for service in _SERVICES.values() for wait in service.get("depends_on", {}).items()
    ]
    for name, how in waits:
        assert "profiles" not in _SERVICES[name]
        healthy = how["condition"] == "service_healthy"
        assert healthy == ("healthcheck" in _SERVICES[name] and name in _STORES)
        assert healthy or how["condition"] == "service_completed_successfully"
    # `make up` waits until a service is well, and takes a job that has ended for a failure, unless it is awaited.
    jobs = {name for name in OURS if "restart" not in _SERVICES[name]}
    assert {name for name, how in waits if how["condition"] == "service_completed_successfully"} == jobs
    assert "up --detach --wait" in (FILE.parent / "Makefile").read_text()
    declared = set(re.findall(r"^  (\w+):$", FILE.read_text().split("\nvolumes:\n")[1], re.MULTILINE))
    mounted = {mount.split(":")[0] for service in _SERVICES.values() for mount in service.get("volumes", [])}
    assert mounted == declared
