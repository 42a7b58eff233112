"""``python -m service``: serve the models, check them, or score a file."""

import sys

from service.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
