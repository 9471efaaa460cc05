#!/usr/bin/env bash
# Everything that waits for an NVIDIA GPU, in under ten minutes: `make test-gpu`, the benchmark, the shipped models
# trained anew. Each part has its share of the time, and one that fails does not keep the others from running.
# Nothing is fetched. DEVICE=cpu goes the same way without a card; docs/gpu.md tells more.
set -uo pipefail
cd "$(dirname "$0")/.."
PY=${PY:-python3}
DEVICE=${DEVICE:-cuda}
OUT=${OUT:-build/gpu}
SITE=${SITE:-build/site}
TEST_SECONDS=${TEST_SECONDS:-200} BENCHMARK_SECONDS=${BENCHMARK_SECONDS:-200} TRAINING_SECONDS=${TRAINING_SECONDS:-180}
mkdir -p "$OUT"
export PYTHONPATH="$PWD:$PWD/$SITE${PYTHONPATH:+:$PYTHONPATH}" GPU_TESTS_ON="$DEVICE"

missing=$("$PY" - <<'PYTHON'
import importlib.util
names = {"torch": "torch", "torchvision": "torchvision", "numba": "numba", "cv2": "opencv-python-headless", "onnx": "onnx",
         "safetensors": "safetensors", "PIL": "pillow", "pytest": "pytest", "tqdm": "tqdm", "lazy_loader": "lazy-loader"}
print(*(package for module, package in names.items() if importlib.util.find_spec(module) is None))
PYTHON
)
if [ -n "$missing" ]; then
  echo "error: $PY lacks $missing; bring them from a machine that has a network: pip install --no-deps --target $SITE $missing" >&2
  exit 2
fi

failed=0
part() { # NAME SECONDS COMMAND...
  local name=$1 seconds=$2 began=$SECONDS code
  shift 2
  timeout --kill-after=10 "$seconds" "$@" >"$OUT/$name.log" 2>&1
  code=$?
  [ "$code" = 0 ] || failed=1
  echo "$name: exit code $code after $((SECONDS - began)) s, $OUT/$name.log: $(tail -n 1 "$OUT/$name.log" | cut -c -300)"
}
# shellcheck disable=SC2086  # options of several words
part test "$TEST_SECONDS" "$PY" -m pytest -p no:cacheprovider -m gpu tests/gpu ${TEST_OPTIONS:-}
# shellcheck disable=SC2086
part benchmark "$BENCHMARK_SECONDS" "$PY" -m benchmarks.gpu --device "$DEVICE" --limit "$((BENCHMARK_SECONDS - 40))" \
  --out "$OUT/gpu.json" ${BENCHMARK_OPTIONS:-}
# shellcheck disable=SC2086
part training "$TRAINING_SECONDS" "$PY" -m training.release --device "$DEVICE" --out "$OUT/zoo" \
  --minutes "$(((TRAINING_SECONDS - 45) / 60))" ${TRAINING_OPTIONS:-}
exit "$failed"
