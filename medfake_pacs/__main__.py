"""`python -m medfake_pacs` is the command `medfake-pacs`."""

import sys

from medfake_pacs.cli import main

if __name__ == "__main__":
    sys.exit(main())
