#!/bin/sh
# The whole torture (see torture.py), an hour at most: scripts/torture.sh [--minutes 25] [--parts kill,damage] [--out table.md]
exec "${PYTHON:-python}" "$(dirname "$0")/torture.py" "$@"
