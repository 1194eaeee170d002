"""The cases below on as many processes as there are, with their gradients and metrics saved (see its test)."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from echorl.trl import EchoGRPOTrainer
from echorl.trl.batch import COMPLETIONS
from tests.trl import tiny_vision
from tests.trl.test_completions_table import table
from tests.trl.tiny import all_right, build, make_dataset, make_tokenizer, run, some_right

# (rows a process and micro-batch, accumulation) on one process; the same 24 rows are split over more processes.
SPLITS = {1: [(24, 1), (6, 4)], 2: [(12, 1), (6, 2), (3, 4)], 3: [(8, 1), (2, 4)]}
CASES = {
    "echo alone": (all_right, dict()),
    "mixed groups": (some_right, dict()),
    "mean over clips": (some_right, dict(echo_average_over="clip")),
    "random": (some_right, dict(echo_select="random")),
    "two clips": (some_right, dict(echo_top_k=2)),
    "degenerate": (some_right, dict(echo_scope="degenerate")),
    "quantile": (some_right, dict(echo_entropy_quantile=0.7)),
    "a clip a rollout": (some_right, dict(echo_clip_per="rollout", echo_length_norm="constant")),
}


def completions_of(prompts, trainer):
    """They depend on the prompt and the rollout's number alone, whatever the number of processes."""
    tokenizer = make_tokenizer()
    everybody = gather_object(list(prompts))
    start = trainer.accelerator.process_index * len(prompts)
    return [_completion(prompt, everybody[: start + i].count(prompt), tokenizer) for i, prompt in enumerate(prompts)]


def rollouts(prompts, trainer):
    tokenizer, completions = make_tokenizer(), completions_of(prompts, trainer)
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": completions,
        "logprobs": [[0.0] * len(c) for c in completions],
    }


def _completion(prompt, number, tokenizer):
    generator = torch.Generator().manual_seed(zlib.crc32(f"{prompt}{number}".encode()))
    length = int(torch.randint(4, 15, (1,), generator=generator))
    return [*torch.randint(3, len(tokenizer), (length,), generator=generator).tolist(), 1]


class SamplingTrainer(GRPOTrainer):
    """Samples such completions where the method refuses a `rollout_func`: of prompt and prefix."""

    def _generate_single_turn(self, prompt_ids, *_, **__):
        return completions_of(prompt_ids, self), None


class Sampler(EchoGRPOTrainer, SamplingTrainer):
    """EchoRL's trainer above that one."""


class Judge(Sampler):
    """Its judgements depend on the question alone."""

    def _sample_again(self, prompts, plan, **settings):
        made = super()._sample_again(prompts, plan, **settings)
        made[COMPLETIONS] = [f"Judgment: [{zlib.crc32(prompt.encode()) % 2}]" for prompt in prompts]
        return made


def results(
    output_dir, num_processes, cases=CASES, families=("echo/",), make=lambda: {"rollout_func": rollouts}, splits=SPLITS
):
    """`make` gives each run what is its own."""
    found = {}
    for name, (reward, options) in cases.items():
        for size, accumulation in splits[num_processes]:
            changes = dict(
                echo_coef=1.0,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=accumulation,
                num_generations=8,  # at 12 rows a process the second of the three groups lies on both
                max_steps=1,
                optim="sgd",
                ddp_find_unused_parameters=False,
            )
            trainer, gradients, _, _ = run(output_dir, reward, **{**changes, **make(), **options})
            logged = {k: v for k, v in trainer.state.log_history[0].items() if k.startswith(families)}
            groups = {**trainer.statistics.groups, "filtered": trainer.statistics.filtered}
            found[name, size, accumulation] = (gradients[-1], logged, groups)
    return found


def few_mixed(prompts, completion_ids, **_):
    """By the prompt's first digit: 3, 6 and 9 give either verdict, 1, 5 and 7 are all wrong, others all right."""
    return [
        float(sum(ids) % 2) if prompt[0] in "369" else float(prompt[0] not in "157")
        for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]


def mostly_right(prompts, completion_ids, **_):
    """Prompts that begin with a 3 or 9 give either verdict, all others are all right."""
    return [
        float(sum(ids) % 2) if prompt[0] in "39" else 1.0 for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]


def _dapo(**options):
    own = {name: options.pop(name) for name in ("max_rounds",) if name in options}
    return dict(method="dapo", method_options={"overlong_buffer": 4, **own}, **options)


DYNAMIC = {
    "rounds": (few_mixed, _dapo(max_rounds=20)),
    "clips beside the batch": (mostly_right, _dapo(max_rounds=20)),
    "more of them than rows": (mostly_right, _dapo(max_rounds=20, echo_clip_per="rollout")),
    "cap": (few_mixed, _dapo(max_rounds=2)),
    "cap, mean over rows": (few_mixed, _dapo(max_rounds=2, loss_type="grpo")),
    "never": (all_right, _dapo(max_rounds=2)),
    "mean over clips": (few_mixed, _dapo(echo_average_over="clip")),
    "random": (few_mixed, _dapo(echo_select="random")),
}


def rarely_wrong(completion_ids, **_):
    """Two of the first three groups are all right, and some of the attempts at a mistake are wrong."""
    return [float(sum(ids) % 11 != 0) for ids in completion_ids]


RIVALS = {
    "left out of a mean over rows": (few_mixed, dict(method="exclude_degenerate", loss_type="grpo")),
    "advantages of tokens": (few_mixed, dict(method="rl_zvp")),
    "ranks": (few_mixed, dict(method="saturated_learning")),
    "judgements": (
        mostly_right,
        dict(
            method="saturated_learning",
            method_options={"ranking": "judgement"},
            cls=Judge,
            rollout_func=None,
        ),
    ),
    "pairs": (few_mixed, dict(method="saturated_learning", method_options={"loss": "dpo"})),
    "pools": (few_mixed, dict(method="reinforce_ada", method_options={"max_rounds": 2})),
    "mistakes": (
        rarely_wrong,
        dict(method="negative_rollouts", method_options={"num_mistakes": 3}, cls=Sampler, rollout_func=None),
    ),
    "drawn failures": (
        mostly_right,
        dict(method="added_failures", method_options={"zero_rewards": 1, "max_zero_rewards": 7}),
    ),
}


def _visits(method, numbers, **changes):
    """The last gradient of several steps, each of three of these prompts; metrics are means over them."""
    own = dict(dataset=make_dataset(10).select(numbers), learning_rate=0.1, lr_scheduler_type="constant")
    return dict(method=method, max_steps=4, logging_steps=4, **own, **changes)


MEMORIES = {
    "rates": (few_mixed, _visits("spo", (2, 3, 6))),
    "skips": (few_mixed, _visits("greso", (2, 3, 4, 6, 8, 9), method_options={"visit_solved": 0.1, "max_rounds": 2})),
    "temperatures": (few_mixed, _visits("erpo", (2, 3, 6), cls=Sampler, rollout_func=None)),
    "failures": (
        few_mixed,
        _visits(
            "failure_prefix",
            (2, 3, 6),
            method_options={"online": True, "saturated": 0.1},
            cls=Sampler,
            rollout_func=None,
        ),
    ),
    "replays": (few_mixed, _visits("exgrpo", (3, 6, 9), method_options={"start": 0.0})),
}


def dynamic(output_dir, num_processes):
    """Dynamic sampling and rivals; the second of the three groups of the first round lies on both of two processes."""
    families, whole = ("echo/", "method/"), {number: splits[:1] for number, splits in SPLITS.items()}
    found = results(output_dir, num_processes, {**DYNAMIC, **RIVALS}, families)
    return {**found, **results(output_dir, num_processes, MEMORIES, families, splits=whole)}


def images(output_dir, num_processes):
    """Dynamic sampling for prompts with one to three images; the entropies come from the extra forward."""

    def reward(prompts, **columns):
        return mostly_right([_text(prompt) for prompt in prompts], **columns)

    cases = {"images": (reward, _dapo(max_rounds=4, echo_clip_per="rollout"))}
    return results(output_dir, num_processes, cases, ("echo/", "method/"), _vision)


def _vision():
    made = dict(model=tiny_vision.make_model(), processing_class=tiny_vision.make_processor())
    return {**made, "dataset": tiny_vision.make_varied_rows(), "rollout_func": _rollouts_on_images}


def _rollouts_on_images(prompts, trainer):
    ids = trainer.processing_class.apply_chat_template(
        prompts, add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    return {**rollouts([_text(prompt) for prompt in prompts], trainer), "prompt_ids": ids}


def _text(prompt):
    return prompt[-1]["content"][-1]["text"]


def logged(folder, num_processes):
    """The table of completions with EchoRL's columns, which the main process writes; None from the others."""
    options = dict(log_completions=True, max_steps=1, num_generations=8)
    size = SPLITS[num_processes][0][0]
    run(folder, some_right, rollout_func=rollouts, per_device_train_batch_size=size, **options)
    return table(Path(folder), 1) if int(os.environ.get("RANK", 0)) == 0 else None


RESUME = dict(
    rollout_func=rollouts,
    echo_coef=0.1,
    per_device_train_batch_size=4,
    num_iterations=2,
    max_steps=4,
    save_strategy="steps",
    save_steps=1,
    ddp_find_unused_parameters=False,
)


def train_and_resume(folder, **changes):
    """Train on these processes, then resume from within a generation batch and from between two; the weights of all."""
    changes = {**RESUME, **changes}
    weights = {"whole": run(folder, **changes)[3]}
    for step in (1, 2):  # generation batches last two steps
        trainer = build(folder, **changes)
        trainer.train(resume_from_checkpoint=os.path.join(folder, f"checkpoint-{step}"))
        weights[step] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    return weights


def resume_between_batches(folder):
    """Go on with a run that other processes began, from between two generation batches."""
    trainer = build(folder, **RESUME)
    trainer.train(resume_from_checkpoint=os.path.join(folder, "checkpoint-2"))
    return {"steps": trainer.state.global_step, "groups": sum(trainer.statistics.groups.values())}


JOBS = {
    "results": lambda folder, world: {**results(folder, world), "logged": logged(f"{folder}-logged", world)},
    "resume": lambda folder, world: train_and_resume(folder),
    "images": images,
    "dynamic": dynamic,
    "dynamic_resume": lambda folder, world: train_and_resume(folder, reward=few_mixed, **_dapo()),
    "go_on": lambda folder, world: resume_between_batches(folder),
}


def work(folder, job):
    """Do a rank's share of a job, and save what it has found."""
    rank, world = os.environ["RANK"], int(os.environ["WORLD_SIZE"])
    found = JOBS[job](os.path.join(folder, "run"), world)
    torch.save(found, os.path.join(folder, f"process-{rank}-of-{world}.pt"))
