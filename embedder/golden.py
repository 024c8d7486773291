"""Compares the demo model with its golden vectors, or makes those anew.

`python -m embedder.golden --write` makes them: whenever the weights change, on a CPU in fp32, and once the model's
retrieval figures have been looked at.
"""

import argparse
import sys

from embedder.loader import load_model
from embedder.model import ignore_steps
from embedder.reference import encode_references, write_golden
from embedder.selftest import check
from embedder.settings import EmbedderSettings


def main(arguments: list[str] | None = None) -> int:
    """Write the golden vectors, or only compare the model with them."""
    parser = argparse.ArgumentParser(prog="python -m embedder.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write them anew instead of comparing")
    write = parser.parse_args(arguments).write
    model = load_model(EmbedderSettings(model="demo", device="cpu", precision="fp32"), ignore_steps)
    if write:
        write_golden(model.info.pretrained, encode_references(model))
    check(model)
    sys.stdout.write(f"{model.info.label}: the golden vectors match\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
