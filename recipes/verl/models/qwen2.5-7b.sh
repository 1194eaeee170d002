# The base model, with the chat template of its tokenizer.
args+=(actor_rollout_ref.model.path=Qwen/Qwen2.5-7B)
