"""Every error Likeness raises on purpose. They know no HTTP; `api/errors.py` and `embedder/errors.py` map them.

LikenessError                      .code: stable, machine-readable; str(error): for people
├── InvalidInput                   the request can't be understood
│   └── InvalidCursor
├── Forbidden                      this service is not set up to do that
├── NotFound                       unknown, or not the caller's
├── Conflict                       at odds with the present state (`image_not_indexed`, `image_not_failed`, …)
├── ImageRejected                  the image itself is at fault: final, never retried by itself
│   ├── UnsupportedMedia           not a supported image format
│   ├── ImageTooLarge              too many bytes or pixels
│   ├── UrlRefused                 where it is to be downloaded from is not for us to go
│   └── ImageUnreadable            can't be decoded (`image_truncated`, `image_corrupt`, `empty_file`, …)
├── DownloadFailed                 somebody else's server did not deliver; costs a try, then final
├── Overloaded                     a bounded queue is full; try again after `.retry_after` seconds
├── OwnershipLost                  another attempt took the image over: stop quietly
├── ConfigurationError             the process must not serve: wrong revision, wrong model, …
│   └── SettingsInvalid            settings are wrong: `.problems`, all of them
└── InfrastructureError            a dependency is down or misbehaves: retried, costs the image no try
    ├── DatabaseUnavailable
    ├── QueueUnavailable
    ├── StorageUnavailable
    ├── ObjectNotFound             (the store answered: no such object)
    ├── ObjectCorrupt              (the stored bytes do not have the recorded hash)
    ├── VectorIndexUnavailable
    │   └── VectorIndexRefused     (it answered: not this request)
    ├── EmbedderUnavailable
    │   └── EmbeddingInvalid       (it answered, but vectors that can't be right)
    └── UnknownModel               (it answered: that model is none of mine)
"""

from collections.abc import Sequence
from typing import ClassVar


class LikenessError(Exception):
    """Base of all errors raised on purpose."""

    default_code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code


class InvalidInput(LikenessError):
    """The caller's input can't be understood."""

    default_code = "invalid_input"


class InvalidCursor(InvalidInput):
    """A page cursor that this service did not issue, or for another listing."""

    default_code = "invalid_cursor"


class Forbidden(LikenessError):
    """The service is not set up to do what the request asks for."""

    default_code = "forbidden"


class NotFound(LikenessError):
    """There is no such thing, or it is not the caller's."""

    default_code = "not_found"


class Conflict(LikenessError):
    """The request is at odds with the present state."""

    default_code = "conflict"


class ImageRejected(LikenessError):
    """The image itself is at fault; trying again gives the same answer."""

    default_code = "image_rejected"


class UnsupportedMedia(ImageRejected):
    """The bytes are no image of a supported format."""

    default_code = "unsupported_media"


class ImageTooLarge(ImageRejected):
    """The image has more bytes, pixels or a longer side than the policy allows."""

    default_code = "image_too_large"


class UrlRefused(ImageRejected):
    """A URL, or what it redirects to, leads to an address or a port that strangers must not send us to."""

    default_code = "url_refused"


class ImageUnreadable(ImageRejected):
    """The format is supported, but the content can't be decoded."""

    default_code = "image_corrupt"


class DownloadFailed(LikenessError):
    """Somebody else's server can't be found, does not answer in time, or is not well: it may be better later."""

    default_code = "download_failed"


class Overloaded(LikenessError):
    """A bounded queue is full."""

    default_code = "overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class OwnershipLost(LikenessError):
    """Zero rows: this attempt no longer owns the image. The present owner carries on."""

    default_code = "ownership_lost"


class ConfigurationError(LikenessError):
    """The process must not serve like this; the message names the remedy."""

    default_code = "configuration_error"


class SettingsInvalid(ConfigurationError):
    """Settings are wrong; the message has a line for each problem, without the values."""

    default_code = "settings_invalid"

    def __init__(self, message: str, *, problems: Sequence[str] = (), code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.problems = tuple(problems)


class InfrastructureError(LikenessError):
    """A dependency is down or misbehaves. Retried with backoff; never the image's fault."""

    default_code = "dependency_unavailable"


class DatabaseUnavailable(InfrastructureError):
    """PostgreSQL can't be reached or did not answer in time."""

    default_code = "database_unavailable"


class QueueUnavailable(InfrastructureError):
    """Redis can't be reached or did not answer in time."""

    default_code = "queue_unavailable"


class StorageUnavailable(InfrastructureError):
    """The object store can't be reached, refuses us, or did not answer in time."""

    default_code = "storage_unavailable"


class ObjectNotFound(InfrastructureError):
    """The object store answered that it holds no such object."""

    default_code = "object_not_found"


class ObjectCorrupt(InfrastructureError):
    """The stored bytes do not have the recorded hash."""

    default_code = "object_corrupt"


class VectorIndexUnavailable(InfrastructureError):
    """The vector index can't be reached, refused the call, or did not answer in time."""

    default_code = "vector_index_unavailable"


class VectorIndexRefused(VectorIndexUnavailable):
    """The vector index is there and took no offence at who asked, but at what: one point may be all that is wrong."""

    default_code = "vector_index_refused"


class EmbedderUnavailable(InfrastructureError):
    """The embedder can't be reached, is not ready, or answered nonsense."""

    default_code = "embedder_unavailable"


class EmbeddingInvalid(EmbedderUnavailable):
    """The embedder answered with too few or too many vectors, or some that are not finite and normalised."""

    default_code = "embedding_invalid"


class UnknownModel(InfrastructureError):
    """The embedder is there, but does not serve the model it was asked for; its others may be served well."""

    default_code = "unknown_model"
