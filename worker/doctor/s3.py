"""The object store: who may come in, whether the bucket is there, whether objects can be written, read and deleted."""

import asyncio
import io
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from uuid import uuid4

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as NoAnswer

from common.settings import S3Settings
from worker.doctor.clock import CLOCK, SIGNATURES_HOLD, judge_clock, now
from worker.doctor.examination import Examination, Findings
from worker.doctor.findings import Finding, failed, is_failure, ok
from worker.doctor.line import CERTIFICATE, REACHABLE, examine_url, show_url
from worker.doctor.settings import Limits

SETTING = "S3__ENDPOINT"

CREDENTIALS, REGION, BUCKET, OBJECTS = "credentials", "region", "bucket", "objects"

PROBES = "likeness-doctor/"
"""What the keys of probe objects begin with: no key of an image does."""

_BODY = b"likeness doctor\n"
_OTHER_REGION = frozenset({"AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "TemporaryRedirect"})
_FULL = frozenset({"InternalError", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
_GRANT = "Grant the key s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on its objects."


def examination(settings: S3Settings, limits: Limits) -> Examination:
    """Return what there is to check."""
    secure = urlsplit(settings.endpoint).scheme == "https"
    checks = (REACHABLE, *([CERTIFICATE] if secure else []), CLOCK, CREDENTIALS, REGION, BUCKET, OBJECTS)
    return Examination("s3", show_url(settings.endpoint), checks, lambda: _examine(settings, limits), SETTING)


async def _examine(settings: S3Settings, limits: Limits) -> Findings:
    async for finding in examine_url(settings.endpoint, SETTING):
        yield finding
        if is_failure(finding):
            return
    # A thread can't be ended, but the server's silence is over for it when the caller's patience is.
    timeout = urllib3.Timeout(connect=limits.timeout_s, read=limits.timeout_s)
    pool = urllib3.PoolManager(timeout=timeout, retries=False)
    try:
        async for finding in _examine_server(pool, settings, limits):
            yield finding
            if is_failure(finding):
                return
    except NoAnswer as error:
        raise TimeoutError from error
    finally:
        pool.clear()


async def _examine_server(pool: urllib3.PoolManager, settings: S3Settings, limits: Limits) -> Findings:
    try:
        yield await _compare_clocks(pool, settings.endpoint, limits)
        client = _create_client(pool, settings)
        await asyncio.to_thread(_list, client, settings.bucket)
    except NoAnswer:
        raise
    except (MinioException, HTTPError, ValueError, OSError) as error:
        for finding in judge_refusal(error, settings):
            yield finding
        return
    yield ok(CREDENTIALS, "the key is known, the secret is right")
    yield ok(REGION, settings.region)
    yield ok(BUCKET, f"{settings.bucket} exists")
    yield await asyncio.to_thread(_try_objects, client, settings)


async def _compare_clocks(pool: urllib3.PoolManager, endpoint: str, limits: Limits) -> Finding:
    sent = now()
    told = await asyncio.to_thread(_ask_time, pool, endpoint)
    answered = now()
    if told is None:
        return ok(CLOCK, "the server does not tell its time")
    # It tells whole seconds, the rest cut off.
    return judge_clock(told, sent.replace(microsecond=0), answered, limits.max_clock_skew, SIGNATURES_HOLD)


def _ask_time(pool: urllib3.PoolManager, endpoint: str) -> datetime | None:
    response = pool.request("GET", endpoint, redirect=False)
    try:
        return parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None


def _create_client(pool: urllib3.PoolManager, settings: S3Settings) -> Minio:
    address = urlsplit(settings.endpoint)
    return Minio(
        endpoint=address.netloc,
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        secure=address.scheme == "https",
        region=settings.region,
        http_client=pool,
    )


def _list(client: Minio, bucket: str) -> None:
    """Ask for something whose refusal has a reason; what asks for the head of a bucket is told no more than 403."""
    next(iter(client.list_objects(bucket_name=bucket, prefix=PROBES)), None)


def _try_objects(client: Minio, settings: S3Settings) -> Finding:
    """Write, read and delete an object of a key of our own; one that can't be deleted is named."""
    bucket, name, doing = settings.bucket, f"{PROBES}{uuid4()}", "written"
    try:
        client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(_BODY), length=len(_BODY))
        doing = "read"
        response = client.get_object(bucket_name=bucket, object_name=name)
        same = response.read() == _BODY
        response.close()
        response.release_conn()
        doing = "deleted"
        client.remove_object(bucket_name=bucket, object_name=name)
    except NoAnswer:
        raise
    except (MinioException, HTTPError, OSError) as error:
        code = error.code if isinstance(error, S3Error) else type(error).__name__
        left = f"; {name} is left behind" if doing != "written" else ""
        seen = f"an object can't be {doing}: {code}{left}"
        return failed(OBJECTS, seen, "Make room in the object store: its log says more." if code in _FULL else _GRANT)
    if not same:
        remedy = "Name the store itself, and no cache or proxy before it."
        return failed(OBJECTS, "what is read is not what was written", remedy)
    return ok(OBJECTS, "written, read and deleted")


def judge_refusal(error: Exception, settings: S3Settings) -> Iterator[Finding]:
    """Say why the bucket can't be listed, though the server takes connections."""
    if isinstance(error, ValueError) and not isinstance(error, MinioException):
        yield failed(BUCKET, f"a setting can't be used: {error}", "Correct S3__BUCKET, S3__REGION or S3__ENDPOINT.")
        return
    if not isinstance(error, S3Error):
        yield failed(
            CREDENTIALS,
            f"what answers at {show_url(settings.endpoint)} does not speak S3: {type(error).__name__}",
            f"Correct the port in {SETTING}; a console for browsers is no S3 (MinIO: 9000 and not 9001).",
        )
        return
    refusal = _judge_key(error.code or "", settings)
    if refusal is not None:
        yield refusal
        return
    yield ok(CREDENTIALS, "the key is known, the secret is right")
    if error.code in _OTHER_REGION:
        told = error.response.headers.get("x-amz-bucket-region")
        remedy = f"S3__REGION={told}" if told else f"Set S3__REGION to the store's region: {error.message}"
        yield failed(REGION, f"not {settings.region}", remedy)
        return
    yield ok(REGION, settings.region)
    yield _judge_bucket(error.code or "", settings)


def _judge_key(code: str, settings: S3Settings) -> Finding | None:
    where = "S3__ACCESS_KEY and S3__SECRET_KEY"
    if not settings.access_key:
        return failed(CREDENTIALS, "no key is set, and strangers are not let in", f"Set {where}.")
    if code == "InvalidAccessKeyId":
        remedy = f"Correct S3__ACCESS_KEY, or make the key in the store; then {where} are a pair."
        return failed(CREDENTIALS, "the store does not know the access key", remedy)
    if code == "SignatureDoesNotMatch":
        remedy = "Correct S3__SECRET_KEY: it is not the one that belongs to S3__ACCESS_KEY."
        return failed(CREDENTIALS, "the access key is known, the secret key is wrong", remedy)
    return None


def _judge_bucket(code: str, settings: S3Settings) -> Finding:
    bucket = settings.bucket
    if code == "NoSuchBucket":
        return failed(
            BUCKET,
            f"there is no bucket {bucket}",
            "`AWS_ACCESS_KEY_ID=$S3__ACCESS_KEY AWS_SECRET_ACCESS_KEY=$S3__SECRET_KEY "
            f"aws --endpoint-url {show_url(settings.endpoint)} --region {settings.region} s3 mb s3://{bucket}`; "
            "api and workers make it as they start, if the key may. Or correct S3__BUCKET.",
        )
    if code == "AccessDenied":
        return failed(BUCKET, f"the key may not list the bucket {bucket}", _GRANT)
    return failed(BUCKET, f"the bucket {bucket} can't be listed: {code}", "The store's log says more.")
