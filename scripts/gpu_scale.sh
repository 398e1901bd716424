#!/bin/sh
# Measure one training on 1, 2, 4 and 8 GPUs of this machine (as many as it has), the teacher's batches and the rows of every batch shared
# out, and write images/s and speed-up into OUT/scale.md (default runs/scale). With --cpu: on 1 and 2 one-thread processes, a tiny pair.
#   sh scripts/gpu_scale.sh                      ConvNeXt-L to MobileNetV2, 224 px, a batch of 200 over all GPUs
#   sh scripts/gpu_scale.sh --pair resnet50 --batch 800 --repeats 5
#   sh scripts/gpu_scale.sh --shard-teacher         each way also with the teacher's parameters spread over the GPUs
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-runs/scale}
counts="1 2 4 8"
options="--gpu --pair mobilenetv2"
most=0
if [ "${1:-}" = --cpu ]; then
  shift
  counts="1 2"
  options="--pair tiny"
  most=2
  export OMP_NUM_THREADS=1
fi
"$python" -c 'import vicinal' 2>/dev/null || { echo "vicinal is not installed: run 'pip install .' first" >&2; exit 1; }
if [ "$most" = 0 ]; then
  most=$("$python" -c 'import torch; print(torch.cuda.device_count())')
  [ "$most" -gt 0 ] || { echo "torch sees no GPU here; --cpu measures processes on the CPU" >&2; exit 1; }
fi
mkdir -p "$out"
rm -f "$out/scale.jsonl"
for count in $counts; do
  [ "$count" -le "$most" ] || continue
  echo "$count of $most" >&2
  # shellcheck disable=SC2086
  TORCH_CPP_LOG_LEVEL=ERROR "$python" -m torch.distributed.run --standalone --nproc-per-node "$count" \
    -m benchmarks.processes "$out/scale.jsonl" $options "$@"
done
"$python" -m benchmarks.processes "$out/scale.jsonl" --table | tee "$out/scale.md"
