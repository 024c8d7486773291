"""What is started without arguments: it says what it is when asked for help, and refuses what it would overlook."""

import argparse


def take_none(module: str, description: str | None) -> None:
    """Answer `--help`, and end the process for any other argument; where there is none, return."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
