#!/usr/bin/env bash
# bash train_performance_8p.sh --data_path=/data/veri
. "$(dirname "$0")/common.sh"
train perf 8
