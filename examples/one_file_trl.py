"""EchoRL in one file: a subclass of TRL's GRPOTrainer, to read, or to copy into a script of your own.

    python examples/one_file_trl.py

The equations stand beside the code. It is for one device, plain `generate` and one reward function; nothing of echorl
is used but the small policy that is trained here. A test holds its losses and gradients equal to those of
`echorl.trl.EchoGRPOTrainer`, which needs no extra forward and covers the rest. One sees each step's loss and clips.
Ten seconds on an idle CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer


class OneFileEchoTrainer(GRPOTrainer):
    """GRPO with J = J_GRPO + lambda J_echo (Bi et al., ICML 2026, arXiv 2605.31228).

    Args:
        echo_coef: lambda.
        success_reward: a rollout is a success if its reward is at least this.
    """

    def __init__(self, *args: Any, echo_coef: float = 0.001, success_reward: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.echo_coef, self.success_reward = echo_coef, success_reward
        self.newline, self.blank = token_tables(self.processing_class)
        self.rewards = self.logps = None

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        """Keep the rewards [B, 1]: the verifier's, not the advantages, say which rollouts are successes."""
        self.rewards = super()._calculate_rewards(*args, **kwargs)
        return self.rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Add the weights of the EchoClips to a generation batch, while the rollouts of a prompt are side by side."""
        batch = super()._generate_and_score_completions(inputs)
        if self.model.training:
            ids, mask = batch["completion_ids"], batch["completion_mask"]
            steps = segment(ids, mask, self.newline, self.blank)
            success = (self.rewards[:, 0] >= self.success_reward).tolist()  # False for a reward of None, which is NaN
            weights, clips = echo_weights(self.entropies(batch), steps, success, self.num_generations)
            # TRL shuffles and splits tensors with rows together with the batch, and passes numbers on.
            batch["echo_weights"] = weights.to(ids.device)
            batch["num_prompts"] = torch.tensor(len(ids) / self.num_generations)
            self._metrics["train"]["echo/clips"].append(clips)
        return batch

    @torch.no_grad()
    def entropies(self, batch: dict[str, Any]) -> Tensor:
        """Return H_t = -sum_v pi(v) log pi(v) [B, T] of the policy at the sampling temperature, by one more forward."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        num_tokens, rows = batch["completion_ids"].shape[1], self.args.per_device_train_batch_size
        return self._get_per_token_logps_and_entropies(
            self.model, ids, mask, num_tokens, batch_size=rows, compute_entropy=True
        )[1]

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """Keep the log-probs of the policy loss, so that the echo costs no forward of its own."""
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if torch.is_grad_enabled():
            self.logps = result[0]
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Return L = L_GRPO + lambda (1/P) sum_clips (1/L) sum_t -log pi(o_t | q, o_<t), of a micro-batch's share.

        P counts the prompts of an optimiser step, not those of a micro-batch: those with many clips would count less.
        """
        loss = super()._compute_loss(model, inputs)
        if self.model.training:
            share = self.current_gradient_accumulation_steps / self.args.steps_per_generation
            nll = -(inputs["echo_weights"] * self.logps.float()).sum() / (inputs["num_prompts"] * share)
            loss = loss + self.echo_coef * nll
        self.logps = None
        return loss


def token_tables(tokenizer: Any) -> tuple[list[bool], list[bool]]:
    """Return, for each token, whether its text has a newline, and whether it is blank: white space, or special."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    special = {*tokenizer.all_special_ids, *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special)}
    return ["\n" in text for text in texts], [not text.strip() or i in special for i, text in enumerate(texts)]


def segment(ids: Tensor, mask: Tensor, newline: list[bool], blank: list[bool]) -> Tensor:
    """Return the step of each token, from 0; -1 outside the completion.

    A step begins at the first token after a newline that is not blank, so that no step is blank.
    """
    steps = torch.full(ids.shape, -1)
    for row, (tokens, length) in enumerate(zip(ids.tolist(), mask.sum(1).tolist(), strict=True)):
        step, has_text, after_newline = 0, False, False
        for place, token in enumerate(tokens[:length]):
            if not blank[token]:
                step += has_text and after_newline
                has_text, after_newline = True, False
            after_newline |= newline[token]
            steps[row, place] = step
        if not has_text:
            steps[row] = -1
    return steps


def echo_weights(entropy: Tensor, steps: Tensor, success: list[bool], num_generations: int) -> tuple[Tensor, int]:
    """Return the weight of every token [B, T], and the number of clips.

    For each prompt:
        H_k = (1/|S_k|) sum_{t in S_k} H_t         the mean entropy of step k
        s*  = argmax_{o in successes, k} H_k        the hardest step that the policy got through
        clip = o_1 ... o_L, L the end of s*         everything up to its last token
        weight = 1/L on the clip, 0 elsewhere
    """
    weights, clips = torch.zeros(steps.shape), 0
    entropy = entropy.cpu()
    for first in range(0, len(steps), num_generations):
        candidates = [
            (float(entropy[row][steps[row] == step].double().mean()), row, step)
            for row in range(first, first + num_generations)
            if success[row]
            for step in range(int(steps[row].max()) + 1)
        ]
        if candidates:
            _, row, step = max(candidates, key=lambda candidate: candidate[0])  # the first one of equals
            clip = (steps[row] >= 0) & (steps[row] <= step)
            weights[row] = clip / clip.sum()
            clips += 1
    return weights, clips


if __name__ == "__main__":
    from trl_cpu import PrinterCallback, ProgressCallback, make_rows, right_sum

    from echorl.models import path

    torch.set_num_threads(1)  # faster for a policy this small
    settings = GRPOConfig(
        "runs/one-file-trl",
        num_generations=8,
        per_device_train_batch_size=32,
        max_completion_length=80,
        max_steps=4,
        learning_rate=1e-4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    model, rows = path("quickstart"), make_rows()
    trainer = OneFileEchoTrainer(model, right_sum, settings, train_dataset=rows, echo_coef=0.001)
    for prints_all in (ProgressCallback, PrinterCallback):  # transformers takes one or the other
        trainer.remove_callback(prints_all)
    trainer.train()
    for log in trainer.state.log_history[:-1]:  # the last one sums up
        loss, reward, clips = (log[name] for name in ("loss", "reward", "echo/clips"))
        print(f"step {log['step']}: loss {loss:.4f}, reward {reward:.2f}, {clips:.0f} clips")
