#!/usr/bin/env bash
# bash eval.sh --data_path=/data/veri --pth_path=model_best.pth.tar (or best.safetensors)
. "$(dirname "$0")/common.sh"
if [ -z "$pth_path" ]; then
  echo "error: --pth_path is missing; give the weights: bash $0 --data_path=/data/veri --pth_path=model_best.pth.tar" >&2
  exit 2
fi
log="$OUTPUT/eval_$ASCEND_DEVICE_ID.log"
weights=$pth_path
case $pth_path in
*.pth | *.pth.tar | *.pt)
  weights="$OUTPUT/imported.safetensors"
  "$PY" -m zoo import "$pth_path" --name densenet121.imported --out "$weights" >"$log" 2>&1
  ;;
esac && "$PY" -m training.evaluate --data-root "$data_path" --weights "$weights" "--$device" 1 >>"$log" 2>&1
code=$?
grep -A 1 mAP "$log"
[ "$code" = 0 ] || echo "error: the evaluation failed with exit code $code; see $log" >&2
exit "$code"
