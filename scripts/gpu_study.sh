#!/bin/sh
# Run examples/cifar10-gpu.yaml on this machine's GPU and keep its tables and figures under docs/results/cifar10-gpu.
# Arguments are KEY=VALUE overrides (data.source and, without a network, the weights). Give the command again to continue.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-runs}/cifar10-gpu
command -v vicinal >/dev/null || { echo "vicinal is not installed: run 'make demo' or 'pip install .' first" >&2; exit 1; }
python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "torch sees no GPU here" >&2; exit 1; }
vicinal run examples/cifar10-gpu.yaml --out "$out" runtime.device=cuda "$@"
python3 scripts/keep_results.py "$out" docs/results/cifar10-gpu
