"""`make cluster`: like `make run`, with several processes of each service; see `assembly.py`."""

import sys

from common.arguments import take_none
from deploy.local.__main__ import main

if __name__ == "__main__":
    take_none("deploy.cluster", __doc__)
    sys.exit(main("deploy.cluster.assembly"))
