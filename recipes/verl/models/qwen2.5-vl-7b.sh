# The vision model on Geometry3K: a diagram, a question, an answer. Needs qwen-vl-utils (pip install qwen-vl-utils).
# Deviation: prompts may have 2048 tokens, since images are tokens, too; the script has no run with images.
args+=(
    actor_rollout_ref.model.path=Qwen/Qwen2.5-VL-7B-Instruct
    data.train_files="$DATA/geometry3k/train.parquet"
    data.val_files="$DATA/geometry3k/validation.parquet"
    data.max_prompt_length=2048
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=20480
    actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=40960
)
