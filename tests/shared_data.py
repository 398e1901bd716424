"""Where the large real inputs are that some tests need, and are skipped without."""

import os
from pathlib import Path

SHARED_DATA = Path(os.environ.get("VICINAL_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
