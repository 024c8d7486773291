"""The local stack with real stores, and small stand-ins for the embedder and the app."""

import asyncio
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from minio import Minio

from common.connection_file import FILE_NAME
from deploy.local.ports import LOOPBACK, choose_ports
from tests.fixtures.fake_service import CRASHES_AT_START
from tests.fixtures.stack import cut_power

PROGRAM = "import sys; from deploy.local.__main__ import main; sys.exit(main('tests.fixtures.fake_assembly'))"
DEADLINE_S = 120


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain until {what}")
        time.sleep(0.05)


class Stack:
    """A local stack as a process, as `make run` has it."""

    def __init__(self, home: Path, port: int, **settings: str) -> None:
        self.home = home
        self.url = f"http://{LOOPBACK}:{port}"
        self.output_file = home.with_name(f"{home.name}-{time.monotonic_ns()}.out")
        environment = {**os.environ, "LIKENESS_HOME": str(home), "PORT": str(port), **settings}
        with self.output_file.open("w") as output:
            self.process = psutil.Popen(
                [sys.executable, "-c", PROGRAM], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def wait_ready(self) -> "Stack":
        wait_until(lambda: "is ready" in self.output or self.process.poll() is not None, "the stack is ready")
        assert self.process.poll() is None, self.output
        return self

    def processes(self) -> list[psutil.Process]:
        """Every process below the supervisor: guards, services, and what they forked."""
        children: list[psutil.Process] = self.process.children(recursive=True)
        return children

    def find(self, name: str) -> psutil.Process:
        """Return the process whose parent guards it and whose program is `name`."""
        found: list[psutil.Process] = []
        for guard in self.process.children():
            with suppress(psutil.NoSuchProcess):  # the supervisor's errands end while we look
                found += [service for service in guard.children() if service.name() == name]
        (service,) = found
        return service

    def settings(self) -> dict[str, str]:
        """Return the environment of the app."""
        answer: dict[str, str] = httpx.get(f"{self.url}/environment", trust_env=False).json()
        return answer

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status: int = self.process.wait(DEADLINE_S)
        return status


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Start a stack, by default on the same folder and on a port of its own; gone after the test."""
    stacks: list[Stack] = []

    def start(home: Path = tmp_path / "home", port: int | None = None, **settings: str) -> Stack:
        stacks.append(Stack(home, choose_ports(1)[0] if port is None else port, **settings))
        return stacks[-1]

    yield start
    for stack in stacks:
        if stack.process.poll() is None:
            stack.stop()


def assert_none_left(processes: list[psutil.Process]) -> None:
    assert processes
    assert [process for process in processes if process.is_running()] == []


def database(stack: Stack) -> str:
    return stack.settings()["DATABASE__URL"].replace("+asyncpg", "")


def s3(stack: Stack) -> Minio:
    settings = stack.settings()
    return Minio(
        endpoint=settings["S3__ENDPOINT"].removeprefix("http://"),
        access_key=settings["S3__ACCESS_KEY"],
        secret_key=settings["S3__SECRET_KEY"],
        secure=False,
        region="us-east-1",
    )


def sql(stack: Stack, statement: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(database(stack))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def write(stack: Stack, number: int) -> None:
    sql(stack, f"CREATE TABLE written_{number} AS SELECT {number} AS number")
    data = str(number).encode() * 100_000
    s3(stack).put_object(
        bucket_name="likeness", object_name=f"object-{number}", data=io.BytesIO(data), length=len(data)
    )


def assert_written(stack: Stack, number: int) -> None:
    assert sql(stack, f"SELECT number FROM written_{number}") == number  # noqa: S608
    response = s3(stack).get_object(bucket_name="likeness", object_name=f"object-{number}")
    try:
        assert response.data == str(number).encode() * 100_000
    finally:
        response.close()
        response.release_conn()


def assert_obeys_no_stranger(server: str) -> None:
    for path in ("dir/assign", "col/delete?collection=likeness", "buckets/likeness/", "1,01637037d6"):
        try:
            response = httpx.get(f"{server}/{path}", trust_env=False)
        except httpx.RemoteProtocolError:
            continue  # it speaks gRPC
        assert response.is_client_error, (path, response.status_code)


def test_a_running_stack(start: Callable[..., Stack]) -> None:
    stack = start().wait_ready()
    assert stack.url in stack.output
    wait_until(lambda: "DEMO MODEL" in stack.output, "the demo model is announced")

    second = start()
    assert second.process.wait(DEADLINE_S) == 1
    assert f"pid {stack.process.pid}, {stack.url}" in second.output

    for name in ("postgres", "redis-server", "weed"):
        victim = stack.find(name)
        victim.kill()
        wait_until(lambda victim=victim: not victim.is_running(), f"{name} is gone")  # type: ignore[misc]
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{stack.url}/crash", trust_env=False)
    for service in ("postgresql", "redis", "seaweedfs", "app"):
        ready_again = f"{service:<12} ready"
        wait_until(lambda line=ready_again: stack.output.count(line) == 2, f"{service} is back")  # type: ignore[misc]
    write(stack, 1)
    assert_written(stack, 1)

    connection_file = stack.home / FILE_NAME
    connection = json.loads(connection_file.read_text())
    assert connection.pop("LIKENESS_URL") == stack.url
    assert connection.items() <= stack.settings().items()
    assert stat.S_IMODE(connection_file.stat().st_mode) == 0o600

    everybody = stack.processes()
    assert stack.stop(signal.SIGTERM) == 0
    assert_none_left(everybody)
    assert not connection_file.exists()
    events = [line.split() for line in stack.output.splitlines()]
    order = [event[0] for event in events if event[1:] == ["stopped"]]
    assert order[:2] == ["app", "embedder"]
    assert set(order[2:]) == {"postgresql", "redis", "seaweedfs"}


def test_nothing_is_left_behind_and_no_data_is_lost(start: Callable[..., Stack]) -> None:
    stack = start().wait_ready()
    credentials = (stack.home / "credentials.json").read_text()
    write(stack, 1)

    # The supervisor alone: its guards stop the rest, and the next start waits for them.
    everybody = stack.processes()
    stack.process.kill()
    stack.process.wait()
    stack = start().wait_ready()
    assert_none_left(everybody)
    assert_written(stack, 1)
    write(stack, 2)

    # Everything at once, guards first, as in a power cut.
    cut_power([stack.process, *stack.processes()])
    assert (stack.home / "postgresql" / "postmaster.pid").exists()

    stack = start().wait_ready()
    assert_written(stack, 1)
    assert_written(stack, 2)
    assert (stack.home / "credentials.json").read_text() == credentials
    everybody = stack.processes()
    assert stack.stop(signal.SIGHUP) == 0
    assert_none_left(everybody)


def test_a_service_that_dies_at_start_is_reported_and_stops_the_stack(start: Callable[..., Stack]) -> None:
    stack = start(**{CRASHES_AT_START: "app"})
    wait_until(lambda: "app          died" in stack.output, "the app died once")
    everybody = stack.processes()

    assert stack.process.wait(DEADLINE_S) == 1
    assert "app died 4 times, the last time with exit status 1" in stack.output
    assert "app can't find its marbles" in stack.output
    assert_none_left(everybody)


def test_ctrl_c_while_it_starts_and_again_while_it_stops(start: Callable[..., Stack]) -> None:
    stack = start()
    wait_until(lambda: "redis        starting" in stack.output, "stores are starting")
    wait_until(lambda: len(stack.processes()) > 1, "there are processes")
    everybody = stack.processes()

    stack.process.send_signal(signal.SIGINT)
    stack.process.send_signal(signal.SIGINT)

    assert stack.process.wait(DEADLINE_S) == 0
    assert_none_left(everybody)
    # What was cut short does not stand in the way.
    assert start().wait_ready().stop() == 0


def test_a_taken_port_is_reported_before_anything_is_started(start: Callable[..., Stack]) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        stack = start(port=port)
        assert stack.process.wait(DEADLINE_S) == 1

    assert f"port {port} on {LOOPBACK} is taken" in stack.output
    assert "starting" not in stack.output
    assert list((stack.home / "logs").iterdir()) == []


def test_credentials_are_needed_by_every_store(start: Callable[..., Stack]) -> None:
    stack = start().wait_ready()
    settings = stack.settings()
    kept = json.loads((stack.home / "credentials.json").read_text())

    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(asyncpg.connect(database(stack).replace(kept["postgres_password"], "wrong")))
    host, _, port = settings["REDIS__URL"].rpartition("@")[2].removesuffix("/0").partition(":")
    with socket.create_connection((host, int(port))) as redis:
        redis.sendall(b"PING\r\n")
        assert redis.recv(100).startswith(b"-NOAUTH")
    assert httpx.get(f"{settings['S3__ENDPOINT']}/likeness", trust_env=False).status_code == httpx.codes.FORBIDDEN
    for listening in stack.find("weed").net_connections("tcp4"):
        if listening.status == psutil.CONN_LISTEN:
            assert_obeys_no_stranger(f"http://{LOOPBACK}:{listening.laddr.port}")
    assert s3(stack).bucket_exists(bucket_name="likeness")
    commands = [argument for process in stack.processes() for argument in process.cmdline()]
    assert not [argument for argument in commands if any(secret in argument for secret in kept.values())]
