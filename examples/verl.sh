#!/usr/bin/env bash
# GRPO + EchoRL in verl: your launch line with two overrides more, trainer_mode and echo.coef.
#
#   bash examples/verl.sh [more overrides of verl's]
#
# It prepares GSM8K and trains Qwen2.5-0.5B for two steps, on one node with one GPU. One sees verl's log with the line
# "EchoRL is active", echo/ metrics of each step, and at the end where the rollouts went. Some minutes; it needs the
# network, and an environment with `pip install '.[verl,tasks]'` (docs/guides/verl.md).
set -euo pipefail
data=${DATA:-data/gsm8k}
model=${MODEL:-Qwen/Qwen2.5-0.5B-Instruct}
[ -e "$data/train.parquet" ] || python -m echorl.verl.prepare gsm8k "$data"
exec python -m echorl.verl trainer.v1.trainer_mode=echo_sync +echo.coef=0.001 \
    algorithm.adv_estimator=grpo \
    data.train_files="$data/train.parquet" data.val_files="$data/validation.parquet" \
    data.train_batch_size=32 data.max_prompt_length=512 data.max_response_length=512 \
    actor_rollout_ref.model.path="$model" \
    actor_rollout_ref.actor.ppo_mini_batch_size=32 actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.use_dynamic_bsz=True actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True \
    actor_rollout_ref.rollout.name=vllm actor_rollout_ref.rollout.n=8 \
    reward.custom_reward_function.path=pkg://echorl.verl.reward \
    trainer.nnodes=1 trainer.n_gpus_per_node=1 trainer.total_training_steps=2 "$@"
