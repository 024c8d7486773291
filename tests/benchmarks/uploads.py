"""Steady uploads, as fast as they are worked off: `python -m tests.benchmarks.uploads URL SECONDS`."""

import random
import sys
import time

import httpx

from tests.soak.traffic import Traffic


def main(url: str, seconds: float) -> None:
    """Upload, browse and delete for so long."""
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        traffic = Traffic(client, random.Random(7))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            traffic.round()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
