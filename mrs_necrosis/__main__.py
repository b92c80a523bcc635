"""``python -m mrs_necrosis`` is the command ``mrs-necrosis``."""

import sys

from mrs_necrosis.cli import main

if __name__ == "__main__":
    sys.exit(main())
