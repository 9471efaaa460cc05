#!/usr/bin/env bash
# bash train_full_1p.sh --data_path=/data/veri
. "$(dirname "$0")/common.sh"
train acc 1
