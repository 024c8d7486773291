"""What an answer, or a failure to get one, says to people."""

from typing import Any

import httpx


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """Return the body as problem details; empty when it is something else."""
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def detail_of(response: httpx.Response) -> str:
    """Return why a request was not served."""
    if response.is_redirect:
        return f"it says to use {response.headers.get('Location', 'another address')} instead"
    detail = problem_of(response).get("detail")
    return detail if isinstance(detail, str) else f"HTTP {response.status_code} {response.reason_phrase}"


def reason_of(error: Exception) -> str:
    """Return why there was no answer."""
    return str(error) or type(error).__name__
