"""The command line: ``python -m service.runs``."""

import sys

from service.runs.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
