# Sourced by the scripts beside it: options, logs and figures in the form that Ascend's ModelZoo checks.
#   --data_path=D   the data set in VeRi's layout
#   --device=KIND   npus [npus], gpus or cpus
#   --more=OPTIONS  further options of `python -m training.launch`, such as "--recipe smoke --epochs 1"
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)
PY=${PY:-python3}
data_path="" pth_path="" device=npus more=""
for option in "$@"; do
  case $option in
  --data_path=* | --pth_path=* | --device=* | --more=*)
    name=${option%%=*}
    printf -v "${name#--}" '%s' "${option#*=}"
    ;;
  *)
    echo "error: $option: not an option of $0; give --data_path=, --pth_path=, --device= or --more=" >&2
    exit 2
    ;;
  esac
done
if [ -z "$data_path" ]; then
  echo "error: --data_path is missing; give the folder of the data set: bash $0 --data_path=/data/veri" >&2
  exit 2
fi
. "$HERE/../env.sh"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
ASCEND_DEVICE_ID=${ASCEND_DEVICE_ID:-0}
OUTPUT=${OUTPUT:-$HERE/output/$ASCEND_DEVICE_ID}
mkdir -p "$OUTPUT"

train() { # acc|perf, number of cards
  local mode=$1 count=$2 began code batch=32 options=""
  local case_name="PAMTRI_bs$((batch * count))_${count}p_$mode" run="$OUTPUT/run_${count}p_$mode"
  local log="$OUTPUT/train_${ASCEND_DEVICE_ID}_${count}p_$mode.log"
  [ "$mode" = acc ] || options="--epochs 2"
  [ "$device" = cpus ] || options="$options --amp O2 --loss-scale 128"
  began=$(date +%s)
  # shellcheck disable=SC2086  # options of several words
  "$PY" -m training.launch --data-root "$data_path" --recipe pamtri "--$device" "$count" --out "$run" --overwrite \
    $options $more >"$log" 2>&1
  code=$?
  if [ "$code" != 0 ]; then
    echo "error: the training failed with exit code $code; see $log: $(tail -n 1 "$log")" >&2
    exit "$code"
  fi
  "$PY" "$HERE/figures.py" "$run" "$case_name" "$device" "$(($(date +%s) - began))" "$OUTPUT/$case_name.log"
}
