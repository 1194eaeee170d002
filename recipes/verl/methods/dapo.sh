# DAPO (arXiv 2503.14476): clip 0.2 / 0.28, token-level mean, dynamic sampling, soft overlong punishment; no KL, no bonus.
# With EchoRL the groups that sampling drops still give their EchoClips.
# Without `echorl` verl's own sampler runs, which ignores the limit below; `+echo.mine_only=True` samples as with EchoRL.
# Deviation: the overlong buffer is a fifth of the response, as 4,096 of 20,480 in its paper; here 1,638 tokens.
# Deviation: dual clip at 10, as in DAPO's own verl recipe (verl's default is 3, the paper has none).
args+=(
    algorithm.adv_estimator=grpo
    algorithm.norm_adv_by_std_in_grpo=True
    actor_rollout_ref.actor.loss_agg_mode=token-mean
    actor_rollout_ref.actor.clip_ratio_low=0.2
    actor_rollout_ref.actor.clip_ratio_high=0.28
    actor_rollout_ref.actor.clip_ratio_c=10.0
    actor_rollout_ref.actor.entropy_coeff=0

    algorithm.filter_groups.enable=True
    algorithm.filter_groups.metric=acc
    algorithm.filter_groups.max_num_gen_batches=10

    reward.reward_manager.name=dapo
    +reward.reward_kwargs.max_resp_len=8192
    +reward.reward_kwargs.overlong_buffer_cfg.enable=True
    +reward.reward_kwargs.overlong_buffer_cfg.len=1638
    +reward.reward_kwargs.overlong_buffer_cfg.penalty_factor=1.0
    +reward.reward_kwargs.overlong_buffer_cfg.log=False
    +echo.success_key=acc # the punishment shapes the reward, not the verdict
)
