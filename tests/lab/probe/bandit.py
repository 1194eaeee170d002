"""A bandit written as a language model: a table of next-token logits, whose gradients are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from echorl.lab.evaluate.benchmarks import Benchmark, Item
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.plan import Work
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.run import probe
from echorl.tasks.verify.base import Verdict
from tests import tiny
from tests.lab.conftest import save_model

PROMPT, EOS = tiny.PIECES.index("?"), tiny.PIECES.index("<eos>")
ARMS = {True: tiny.PIECES.index("a"), False: tiny.PIECES.index("b")}
NEVER = -1e9


class BanditConfig(PreTrainedConfig):
    model_type = "bandit"
    num_hidden_layers = 1  # generation asks for it


class Bandit(PreTrainedModel, GenerationMixin):
    """Logits of the next token from the last one alone: after the prompt arm a with probability p, else b.

    Arm b may be followed by more tokens, `tail` of them, then comes the end.
    """

    config_class = BanditConfig

    def __init__(self, p: float, tail: int = 0) -> None:
        super().__init__(BanditConfig(vocab_size=len(tiny.PIECES), eos_token_id=EOS, pad_token_id=0))
        table = torch.full((len(tiny.PIECES),) * 2, NEVER)
        table[PROMPT, ARMS[True]], table[PROMPT, ARMS[False]] = math.log(p / (1 - p)), 0.0
        chain = [ARMS[False], *(tiny.PIECES.index(str(digit)) for digit in range(tail)), EOS]
        for before, after in [(ARMS[True], EOS), *pairwise(chain), (EOS, EOS)]:
            table[before, after] = 0.0
        self.table = torch.nn.Parameter(table)

    def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, **kwargs: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.table[input_ids])

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    @property
    def direction(self) -> torch.Tensor:
        """The gradient of log pi(a) is (1 - p) of it, that of log pi(b) is -p of it: [V * V]."""
        found = torch.zeros_like(self.table)
        found[PROMPT, ARMS[True]], found[PROMPT, ARMS[False]] = 1.0, -1.0
        return found.flatten()


@dataclass(frozen=True)
class Judge:
    """Arm a is right; with `all_right` b is, too."""

    all_right: bool = False

    def grade(self, texts, reference_answers):
        return [Verdict(float(self.all_right or text.startswith("a"))) for text in texts]


@dataclass(frozen=True, kw_only=True)
class Arms(Benchmark):
    judge: Judge = field(default_factory=Judge)

    @property
    def hub_id(self):
        return None

    def items(self, data=None):
        raise NotImplementedError

    def get_grader(self):
        return self.judge


def make_work(prompts: int, samples: int, *, all_right: bool = False) -> Work:
    benchmark = Arms(name="arms", title="arms", grader="arms", judge=Judge(all_right))
    items = [Item(id=str(i), prompt="?", reference_answer="a") for i in range(prompts)]
    return Work(benchmark=benchmark, items=items, samples=samples, max_new_tokens=8, longest=1)


def make_checkpoint(folder: Path) -> Checkpoint:
    """The tiny tokenizer in a folder, with a model that is not used."""
    return Checkpoint("bandit", str(save_model(folder)))


def run(folder: Path, checkpoint: Checkpoint, model: Bandit, work: Work, **plan: Any) -> Mapping[str, Any]:
    tokenizer = checkpoint.processing_class
    return probe(folder, work, Plan(**{"projection": 0, **plan}), checkpoint, lambda: (model, tokenizer))


def row_of(result: Mapping[str, Any], rule: str, groups: str) -> Mapping[str, Any]:
    [row] = [row for row in result["rules"] if (row["rule"], row["groups"]) == (rule, groups)]
    return row
