"""python -m vicinal: the command line."""

import sys

from vicinal.cli import main

sys.exit(main())
