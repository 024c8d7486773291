"""A client of the HTTP API, for the command line and the demo."""

from common.api_client.answers import Accepted, Hits, ImageState, Readiness, Rejected, UploadAnswer
from common.api_client.client import ApiClient, FileUpload
from common.api_client.errors import ApiRefused, ApiUnavailable
from common.api_client.in_flight import for_each
from common.api_client.patience import Patience

__all__ = [
    "Accepted",
    "ApiClient",
    "ApiRefused",
    "ApiUnavailable",
    "FileUpload",
    "Hits",
    "ImageState",
    "Patience",
    "Readiness",
    "Rejected",
    "UploadAnswer",
    "for_each",
]
