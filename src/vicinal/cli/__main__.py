"""`python -m vicinal.cli`: the command line of the interpreter at hand."""

import sys

from vicinal.cli.main import main

sys.exit(main())
