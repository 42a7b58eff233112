"""``python -m service``: serve the models, check them, or score a file."""

import sys

from service.commands import main


def run() -> int:
    """Run what this process was told to: the command ``scoring-service``."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
