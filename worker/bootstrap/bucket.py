"""The bucket, and a user of the object store who may use this bucket and do nothing else."""

import asyncio
import io

from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from common.errors import ConfigurationError, StorageUnavailable
from common.settings import S3Settings
from common.storage import S3ObjectStore
from worker.bootstrap.settings import AdminSettings

_PROBE = ".likeness-probe"
_REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


async def ensure_bucket(settings: S3Settings, admin: AdminSettings) -> bool:
    """Create the bucket, and the user who is to write to it, where they are missing; tell if a user was made.

    Raises:
        ConfigurationError: the administrator is refused; or the services are, and can't be made welcome here.
        StorageUnavailable: the object store can't be reached.
    """
    if not admin.s3_access_key:
        await _create_bucket(settings, "S3__ACCESS_KEY")
    else:
        keys = {"access_key": admin.s3_access_key, "secret_key": admin.s3_secret_key}
        await _create_bucket(settings.model_copy(update=keys), "BOOTSTRAP__S3_ACCESS_KEY")
    if await _lets_in(settings):
        return False
    if not admin.s3_access_key:
        raise ConfigurationError("the object store lets S3__ACCESS_KEY see the bucket, but not write to it")
    await asyncio.to_thread(_create_user, settings, admin)
    if not await _lets_in(settings):
        raise ConfigurationError("the object store still refuses S3__ACCESS_KEY after a user of that name was made")
    return True


def policy(bucket: str) -> dict[str, object]:
    """Return what a service may do, as S3 policies have it."""
    inside = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    outside = ["s3:ListBucket", "s3:GetBucketLocation"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": inside, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
            {"Effect": "Allow", "Action": outside, "Resource": [f"arn:aws:s3:::{bucket}"]},
        ],
    }


async def _create_bucket(settings: S3Settings, whose: str) -> None:
    store = S3ObjectStore(settings)
    try:
        await store.ensure_bucket()
    except StorageUnavailable as error:
        if _is_refusal(error):
            raise ConfigurationError(f"{error}: it refuses {whose}") from error
        raise
    finally:
        await store.close()


async def _lets_in(settings: S3Settings) -> bool:
    """Tell whether the services' key may do all that services do."""
    store = S3ObjectStore(settings)
    try:
        await store.ping()
        await store.put(_PROBE, io.BytesIO(b"probe"), 5, "text/plain")
        await store.get(_PROBE, max_bytes=5)
        await store.list_objects(_PROBE)
        await store.delete(_PROBE)
    except StorageUnavailable as error:
        if _is_refusal(error):
            return False
        raise
    finally:
        await store.close()
    return True


def _is_refusal(error: StorageUnavailable) -> bool:
    return isinstance(error.__cause__, S3Error) and error.__cause__.code in _REFUSALS


def _create_user(settings: S3Settings, admin: AdminSettings) -> None:
    """Make a user by MinIO's own interface; blocks. A plain user: service accounts had a way around their policies."""
    address = parse_url(settings.endpoint)
    pool = PoolManager(
        timeout=Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s), retries=Retry(total=False)
    )
    client = MinioAdmin(
        endpoint=address.netloc or "",
        credentials=StaticProvider(admin.s3_access_key, admin.s3_secret_key.get_secret_value()),
        region=settings.region,
        secure=address.scheme == "https",
        http_client=pool,
    )
    name = f"likeness-{settings.bucket}"
    try:
        client.info()  # another server might take the rest for objects to be stored
        client.policy_add(policy_name=name, policy=policy(settings.bucket))
        client.user_add(access_key=settings.access_key, secret_key=settings.secret_key.get_secret_value())
        client.policy_set(policy_name=name, user=settings.access_key)
    except MinioAdminException as error:
        raise ConfigurationError(
            "the object store refuses S3__ACCESS_KEY, and is no MinIO whose users could be made here: make one there, "
            f"with these rights: {policy(settings.bucket)}"
        ) from error
    except (HTTPError, OSError) as error:
        raise StorageUnavailable(f"object store: {type(error).__name__}") from error
    finally:
        pool.clear()
