"""`python -m sipmask_core` is the `sipmask` command."""

import sys

from sipmask_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
