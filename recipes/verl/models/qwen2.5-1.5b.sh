# The base model, with the chat template of its tokenizer. One node is more than it needs: larger micro-batches.
args+=(
    actor_rollout_ref.model.path=Qwen/Qwen2.5-1.5B
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=36864
)
