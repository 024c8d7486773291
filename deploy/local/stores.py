"""The three stores of one data folder, and how services reach them."""

from deploy.local.home import Home
from deploy.local.ports import choose_ports
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from deploy.local.seaweedfs import BUCKET, PORTS, SeaweedFS


class Stores:
    """PostgreSQL, Redis and S3 on ports chosen anew for every run."""

    bucket = BUCKET

    def __init__(self, home: Home, *, durable: bool = True) -> None:
        postgres_port, redis_port, *seaweedfs_ports = choose_ports(2 + PORTS)
        self._credentials = home.credentials
        self.postgres = Postgres(home.path, postgres_port, self._credentials.postgres_password, durable=durable)
        self.redis = Redis(home.path, redis_port, self._credentials.redis_password)
        self.seaweedfs = SeaweedFS(home.path, seaweedfs_ports, self._credentials)

    @property
    def services(self) -> tuple[Postgres, Redis, SeaweedFS]:
        """All three, for the supervisor; they need nothing of each other."""
        return self.postgres, self.redis, self.seaweedfs

    @property
    def database_url(self) -> str:
        """PostgreSQL, for SQLAlchemy with asyncpg."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """Redis, database 0."""
        return self.redis.url

    @property
    def s3_endpoint(self) -> str:
        """S3, with scheme."""
        return self.seaweedfs.endpoint

    @property
    def s3_access_key(self) -> str:
        """S3's access key id."""
        return self._credentials.s3_access_key

    @property
    def s3_secret_key(self) -> str:
        """S3's secret access key."""
        return self._credentials.s3_secret_key

    def environment(self) -> dict[str, str]:
        """Return the settings (`common/settings.py`) of a service that uses these stores."""
        return {
            "DATABASE__URL": self.database_url,
            "REDIS__URL": self.redis_url,
            "S3__ENDPOINT": self.s3_endpoint,
            "S3__ACCESS_KEY": self.s3_access_key,
            "S3__SECRET_KEY": self.s3_secret_key,
            "S3__BUCKET": self.bucket,
        }
