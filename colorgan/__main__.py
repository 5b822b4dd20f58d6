"""`python -m colorgan` is the command `colorgan`."""

import sys

from colorgan.cli import main

sys.exit(main())
