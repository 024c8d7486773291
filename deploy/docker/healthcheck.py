"""Ask the service in this container how it is: `healthcheck.py PORT PATH`; exit status 0 if it answers 200.

It runs every few seconds, so it imports little; and it asks this container alone, whatever proxy the environment names.
"""

import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

_TIMEOUT_S = 4


def main(port: str, path: str) -> int:
    """Return the exit status."""
    try:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_S)
        connection.request("GET", path)
        return int(connection.getresponse().status != HTTPStatus.OK)
    except (OSError, HTTPException):
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
