"""python -m vicinal: the command line."""

import sys

from vicinal.cli.main import main

sys.exit(main())
