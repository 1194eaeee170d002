# Qwen2.5-Math-7B has a window of 4,096 tokens: these are its weights with LUFFY's authors' window of 16k and chat template.
# Deviation: the script's MODEL_PATH says Qwen2.5-Math-7B; which window it had is not told.
args+=(actor_rollout_ref.model.path=Elliott/Qwen2.5-Math-7B-16k-think)
