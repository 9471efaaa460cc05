#!/usr/bin/env bash
# bash train_performance_1p.sh --data_path=/data/veri
. "$(dirname "$0")/common.sh"
train perf 1
