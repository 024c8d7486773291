"""What is made of an S3 server's refusals."""

import pytest
from minio.error import InvalidResponseError, S3Error
from pydantic import SecretStr
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from common.settings import S3Settings
from worker.doctor.findings import Outcome
from worker.doctor.s3 import judge_refusal

SETTINGS = S3Settings(
    endpoint="http://store:9000", access_key="keeper", secret_key=SecretStr("hush"), bucket="pictures"
)


def refusal(code: str, **headers: str) -> S3Error:
    return S3Error(HTTPResponse(headers=headers, status=403), code, "scripted", None, None, None)


@pytest.mark.parametrize(
    ("error", "check", "remedy"),
    [
        (refusal("InvalidAccessKeyId"), "credentials", "Correct S3__ACCESS_KEY"),
        (refusal("SignatureDoesNotMatch"), "credentials", "Correct S3__SECRET_KEY"),
        (refusal("AuthorizationHeaderMalformed", **{"x-amz-bucket-region": "eu-7"}), "region", "S3__REGION=eu-7"),
        (refusal("InvalidRegion"), "region", "Set S3__REGION"),
        (refusal("NoSuchBucket"), "bucket", "s3 mb s3://pictures"),
        (refusal("AccessDenied"), "bucket", "s3:ListBucket"),
        (refusal("SlowDown"), "bucket", "log"),
        (InvalidResponseError(200, "text/html", "<html>"), "credentials", "9000 and not 9001"),
        (ProtocolError("reset"), "credentials", "Correct the port"),
        (ValueError("invalid bucket name"), "bucket", "Correct S3__BUCKET"),
    ],
    ids=[
        "key", "secret", "region told", "region", "bucket", "permission", "busy", "console", "not HTTP", "no name"
    ],
)  # fmt: skip
def test_the_last_finding_says_what_is_wrong(error: Exception, check: str, remedy: str) -> None:
    *before, finding = judge_refusal(error, SETTINGS)
    assert {each.outcome for each in before} <= {Outcome.OK}
    assert (finding.check, finding.outcome) == (check, Outcome.FAILED)
    assert remedy in (finding.remedy or "")
    assert "hush" not in repr(finding)


def test_no_key_at_all() -> None:
    (finding,) = judge_refusal(refusal("AccessDenied"), S3Settings())
    assert (finding.check, "no key is set" in finding.seen) == ("credentials", True)
