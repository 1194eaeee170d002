# GRPO as the authors' script has it: Dr.GRPO's normalisation (no std; token sums over 8192) and an entropy bonus.
args+=(
    algorithm.adv_estimator=grpo
    algorithm.norm_adv_by_std_in_grpo=False
    actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm
    actor_rollout_ref.actor.loss_scale_factor=8192
    actor_rollout_ref.actor.entropy_coeff=0.001
)
