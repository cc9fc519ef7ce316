"""`python -m tinygrad_ft` is `tinygrad-ft`."""

import sys

from tinygrad_ft.cli import main

if __name__ == "__main__":
    sys.exit(main())
