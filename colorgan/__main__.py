"""Run the command `colorgan` as `python -m colorgan`."""

import sys

from colorgan.cli import main

sys.exit(main())
