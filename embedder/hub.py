"""Weights from the model hub: what is cached, whether the hub answers in time, downloads with progress."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import huggingface_hub
import structlog
from huggingface_hub import constants
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from common.errors import ConfigurationError
from embedder.model import HubUnreachable

log = structlog.get_logger(__name__)

_PROGRESS_EVERY_S = 5.0


def find_cached(repo: str, filenames: tuple[str, ...]) -> Path | None:
    """Find the first of these files in the local cache; no network."""
    for filename in filenames:
        path = huggingface_hub.try_to_load_from_cache(repo, filename)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch(repo: str, filenames: tuple[str, ...], timeout_s: float) -> Path:
    """Return the first of these files that the repository has; from the cache when one is there, else from the hub.

    A cached file needs no network at all. `HF_HUB_OFFLINE` is honoured.

    Raises:
        HubUnreachable: nothing is cached and the hub did not answer within `timeout_s`.
        ConfigurationError: the hub has no such file.
    """
    cached = find_cached(repo, filenames)
    if cached is not None:
        return cached
    ensure_reachable(constants.ENDPOINT, timeout_s)
    try:
        for filename in filenames:
            try:
                with _progress(repo, filename):
                    return Path(huggingface_hub.hf_hub_download(repo, filename, etag_timeout=timeout_s))
            except RemoteEntryNotFoundError:
                continue
    except RepositoryNotFoundError as error:
        raise ConfigurationError(f"the hub has no model {repo}, or it is not public") from error
    except (OSError, httpx.HTTPError) as error:
        raise HubUnreachable(f"the download of {repo} failed: {error}") from error
    raise ConfigurationError(f"{repo} has none of the files {', '.join(filenames)}")


def ensure_reachable(url: str, timeout_s: float) -> None:
    """Make sure that `url`'s host answers, in `timeout_s` all in all (name resolution and proxies included).

    Raises:
        HubUnreachable: it does not, or `HF_HUB_OFFLINE` forbids to ask.
    """
    if constants.is_offline_mode():
        raise HubUnreachable("HF_HUB_OFFLINE is set and the weights are not cached")
    failure = _within(timeout_s, lambda: httpx.head(url, timeout=timeout_s, follow_redirects=True).status_code)
    if failure is not None:
        raise HubUnreachable(f"{httpx.URL(url).host} does not answer: {failure}")


def _within(seconds: float, attempt: Callable[[], int]) -> str | None:
    """Say why `attempt` did not succeed in time, or None. Name resolution knows no timeout, hence the thread."""
    outcome: list[str | None] = [f"nothing heard for {seconds:g} s"]

    def run() -> None:
        try:
            status = attempt()
            outcome[0] = None if status < 500 and status != httpx.codes.PROXY_AUTHENTICATION_REQUIRED else f"{status}"
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            outcome[0] = str(error) or type(error).__name__

    thread = threading.Thread(target=run, name="hub-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0]


@contextmanager
def _progress(repo: str, filename: str) -> Iterator[None]:
    """Log how far a download has come, every few seconds."""
    done = threading.Event()
    folder = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "blobs")

    def watch() -> None:
        while not done.wait(_PROGRESS_EVERY_S):
            size = sum(part.stat().st_size for part in folder.glob("*.incomplete") if part.exists())
            log.info("weights_downloading", repo=repo, file=filename, megabytes=round(size / 1e6))

    thread = threading.Thread(target=watch, name="hub-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
