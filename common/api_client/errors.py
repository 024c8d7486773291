"""What can go wrong between us and the HTTP API.

LikenessError
├── ApiRefused              the API refuses a request as a whole
└── InfrastructureError
    └── ApiUnavailable      it can't be reached, or does not get well in time
"""

from common.errors import InfrastructureError, LikenessError


class ApiUnavailable(InfrastructureError):
    """The API can't be reached, or does not get well in time."""

    default_code = "api_unavailable"


class ApiRefused(LikenessError):
    """The API refuses a request as a whole; `status` is its HTTP status, 5xx: a defect over there."""

    default_code = "api_refused"

    def __init__(self, message: str, *, status: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status
