# What all runs share: the settings of the authors' script, which is verl's, too.
args+=(
    # 128 prompts x 8 a step, in two optimiser steps of 64 prompts.
    data.train_batch_size=128
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.actor.ppo_mini_batch_size=64
    actor_rollout_ref.rollout.temperature=1.0
    data.max_prompt_length=1024
    data.max_response_length=8192
    data.filter_overlong_prompts=True
    data.train_files="$DATA/openr1_math/train.parquet"
    data.val_files="$DATA/openr1_math/validation.parquet"

    actor_rollout_ref.actor.optim.lr=1e-6
    actor_rollout_ref.actor.use_kl_loss=False
    algorithm.use_kl_in_reward=False

    # Deviation: 500 steps; the script names 30 epochs (10,700 steps), which nobody waits for.
    trainer.total_training_steps=500
    trainer.total_epochs=100

    # Deviation: echorl's verifiers, math-verify in a worker process with limits, in place of the script's.
    reward.custom_reward_function.path=pkg://echorl.verl.reward

    # The hardware: 8 GPUs of 80 GB a node. These change speed and memory, not what is trained.
    actor_rollout_ref.actor.strategy=fsdp2
    actor_rollout_ref.actor.use_dynamic_bsz=True
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=18432
    actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=36864
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.tensor_model_parallel_size=1
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5
    trainer.n_gpus_per_node="$GPUS"
    trainer.nnodes="$NNODES"

    trainer.v1.trainer_mode=echo_sync
    trainer.project_name=echorl
    trainer.experiment_name="$name"
    trainer.default_local_dir="$RUNS/$name"
    trainer.save_freq=50
    trainer.max_actor_ckpt_to_keep=2
    trainer.test_freq=25
    trainer.val_before_train=False
    'trainer.logger=[console]' # [console,wandb], [console,tensorboard], ...
)
