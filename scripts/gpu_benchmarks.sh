#!/bin/sh
# Measure ConvNeXt-L teaching ResNet-50 and MobileNetV2 at 224 px on this machine's GPU, live and banked, and write the result into
# benchmarks/results/gpu.json and docs/benchmarks.md. Arguments are those of `python -m benchmarks` (--rounds 3, --no-compiled).
# Not run by us yet; by arithmetic about 12 minutes on one H100 or H200, most of it compiling, and 40 GB of GPU memory.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
"$python" -c 'import vicinal' 2>/dev/null || { echo "vicinal is not installed: run 'pip install .' first" >&2; exit 1; }
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "torch sees no GPU here" >&2; exit 1; }
exec "$python" -m benchmarks --only gpu --device cuda "$@"
