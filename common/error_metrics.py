"""Errors by class and code. A code that is not known here (an extension's) is counted as `other`."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter

from common.errors import (
    ConfigurationError,
    Conflict,
    DownloadFailed,
    Forbidden,
    ImageRejected,
    InfrastructureError,
    InvalidInput,
    LikenessError,
    NotFound,
    Overloaded,
    OwnershipLost,
)
from common.metrics import OTHER

ERRORS = Counter(
    "likeness_errors",
    "Errors that ended a request, or an attempt on an image, a download or an operation, or had a file refused.",
    ["service", "class", "code"],
)

DEFECT: Final = "defect"
REQUEST: Final = "request"
OVERLOAD: Final = "overload"
_CLASSES: Sequence[tuple[type[LikenessError], str]] = (
    (InvalidInput, REQUEST),
    (Forbidden, REQUEST),
    (NotFound, REQUEST),
    (Conflict, REQUEST),
    (ImageRejected, "image"),
    (DownloadFailed, "download"),
    (Overloaded, OVERLOAD),
    (OwnershipLost, "ownership"),
    (ConfigurationError, "configuration"),
    (InfrastructureError, "infrastructure"),
)
CLASSES: Final = frozenset({name for _, name in _CLASSES} | {DEFECT})
"""Whose fault an error is."""

_CODES = """
    address_in_use app_not_started backlog_full bad_extension bad_request bad_settings body_too_large
    client_gone configuration_error conflict connection_file_unreadable content_not_ready
    database_unavailable deadline_exceeded decode_crashed decode_out_of_memory decode_timeout
    decoder_unavailable dependency_unavailable download_failed duplicate_image embedder_not_ready
    embedder_unavailable embedding_invalid empty_file empty_input empty_query examples_cancel_out
    external_id_for_many external_id_taken file_too_large folder_not_found forbidden group_changed
    group_not_found hub_unreachable image_corrupt image_deleted image_header_corrupt image_not_failed
    image_not_found image_not_indexed image_rejected image_side_too_long image_too_large
    image_too_many_pixels image_truncated import_disabled internal_error invalid_attribute
    invalid_attribute_filter invalid_cursor invalid_data_url invalid_input invalid_json invalid_request
    invalid_template invalid_url malformed_multipart method_not_allowed model_active model_failed
    model_incomplete model_not_found model_retiring multipart_expected must_run_alone no_files no_threshold
    not_calibrated not_found nothing_indexed nothing_to_roll_back_to object_corrupt object_not_found
    one_file_expected operation_not_found out_of_memory overloaded ownership_lost queue_unavailable
    repeated_field request_too_large search_too_deep selftest_failed settings_invalid spool_unavailable
    stale_cursor storage_unavailable suspect_vectors text_too_long thumbnail_not_ready tokens_not_supported
    too_many_fields too_many_files too_many_inputs too_many_prompts too_many_uploads unknown_attribute
    unknown_field unknown_model unsupported_dimensions unsupported_media upload_stalled url_fetch_disabled
    url_refused vector_index_refused vector_index_unavailable vector_invalid vector_without_direction
    worker_stopped wrong_database_revision wrong_dimension wrong_image_size wrong_length wrong_model
    wrong_preprocess_version
"""
CODES: Final = frozenset(_CODES.split())
"""All codes of errors that Likeness raises."""


def labels_of(error: BaseException) -> tuple[str, str]:
    """Return class and code of an error."""
    if not isinstance(error, LikenessError):
        return DEFECT, LikenessError.default_code
    named = next((name for kind, name in _CLASSES if isinstance(error, kind)), DEFECT)
    return named, error.code if error.code in CODES else OTHER


def count_refusal(service: str, code: str, kind: str = REQUEST) -> None:
    """Count what was answered without an error of ours being raised: requests that nobody can make sense of."""
    ERRORS.labels(service, kind, code if code in CODES else OTHER).inc()


def count_error(service: str, error: BaseException) -> None:
    """Count an error that ended something in one of the services."""
    ERRORS.labels(service, *labels_of(error)).inc()
