# source deploy/ascend/env.sh: CANN's own environment, and what a training on NPUs wants beside it.
for script in "${ASCEND_SET_ENV:-}" /usr/local/Ascend/ascend-toolkit/set_env.sh "$HOME/Ascend/ascend-toolkit/set_env.sh"; do
  if [ -n "$script" ] && [ -f "$script" ]; then
    . "$script"
    break
  fi
done
# As long as this project's own process group waits: the first rank judges the gallery meanwhile.
export HCCL_EXEC_TIMEOUT="${HCCL_EXEC_TIMEOUT:-3600}"
export HCCL_CONNECT_TIMEOUT="${HCCL_CONNECT_TIMEOUT:-600}"
export TASK_QUEUE_ENABLE="${TASK_QUEUE_ENABLE:-2}"
export PYTORCH_NPU_ALLOC_CONF="${PYTORCH_NPU_ALLOC_CONF:-expandable_segments:True}"
