"""The result of a probe, which probe.json holds, from the stored parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from echorl.lab.evaluate.plan import Work
from echorl.lab.probe.estimates import FRACTIONS, Comparison, critical_z, estimate
from echorl.lab.probe.methods import NAME
from echorl.lab.probe.moments import Sample, inner_products, make_sample, pure_noise
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import KINDS, REFERENCES, vector_names
from echorl.lab.probe.verdict import verdict

Part = dict[str, Tensor]
"""Gradients, counts and successes of some prompts, by name."""
Parts = Callable[[], Iterable[Part]]
FIRST = (*REFERENCES, "loss")
"""The vectors before those of the rules, in a part and in a sample."""
PURE_PROMPTS = 128
"""Prompts from all of whose pairs the error of pure noise is estimated."""
MAX_NUMBERS = 2**27
"""Numbers of their gradients that are in memory at once."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """A rule on one kind of group; `vector` is the place of its gradient in a part."""

    rule: str
    label: str
    kind: str
    vector: int


def sum_up(parts: Parts, model: str, work: Work, plan: Plan) -> dict[str, Any]:
    """Return the whole result, from the parts in order; `parts` is called several times."""
    rows = _rows(plan)
    counts = _counts(parts)
    comparison = _compare(parts, rows, counts, plan)
    kinds = counts["kind"].tolist()
    result = {
        "echorl": "probe",
        "model": model,
        "settings": {"benchmark": work.benchmark.name, "max_new_tokens": work.max_new_tokens, **plan.settings()},
        "sizes": {
            "prompts": len(kinds),
            "samples": work.samples,
            "rollouts": len(kinds) * work.samples,
            "prompts_per_batch": plan.prompts_per_batch,
        },
        "groups": {kind: kinds.count(i) / len(kinds) for i, kind in enumerate(KINDS)},
        "pass_at_1": _mean(counts["success"]),
        "length": _mean(counts["lengths"]),
        "entropy": float(counts["surprise"].sum() / counts["lengths"].sum()),
        "cut_off": float(counts["cut_off"].double().mean()),
        "critical_z": comparison.critical,
        "policy_gradient": _policy_row(comparison, kinds),
        "rules": [_rule_row(comparison, counts, row, place) for place, row in enumerate(rows, len(FIRST))],
        "bound": 1 / work.samples,
    }
    return {**result, "verdict": verdict(result)}


def _mean(values: Tensor) -> dict[str, float]:
    """Return the mean of [N, G] with its standard error over prompts."""
    means = values.double().mean(1)
    return {"value": float(means.mean()), "se": float(means.std() / len(means) ** 0.5)}


def _rows(plan: Plan) -> list[_Row]:
    rules = plan.rules()
    names = vector_names(rules)
    return [_Row(name, rule.label, kind, names.index(name)) for name, rule in rules.items() for kind in rule.kinds]


def _counts(parts: Parts) -> dict[str, Tensor]:
    """Return everything in the parts but the gradients, a row a prompt; "kind" is int64 [N]."""
    columns = [{name: value for name, value in part.items() if name != "vectors"} for part in parts()]
    counts = {name: torch.cat([part[name] for part in columns]) for name in columns[0]}
    kind = torch.where(counts["success"].any(1), KINDS.index("mixed"), KINDS.index("all_fail"))
    return {**counts, "kind": kind.masked_fill(counts["success"].all(1), KINDS.index("all_success"))}


def _compare(parts: Parts, rows: list[_Row], counts: dict[str, Tensor], plan: Plan) -> Comparison:
    surprise, lengths = counts["surprise"].double().sum(1), counts["lengths"].double().sum(1)
    ratio = surprise.sum() / lengths.sum()
    ratios_without = (surprise.sum() - surprise) / (lengths.sum() - lengths)
    factor = 1 / float(counts["lengths"].mean()) if plan.loss_type == "dapo" else 1.0
    size = len(FIRST) + len(rows)
    losses = [FIRST.index("loss"), *(place for place, row in enumerate(rows, len(FIRST)) if row.rule == NAME)]
    change, changes = (_change(size, each, losses, factor) for each in (ratio, ratios_without))
    sample = make_sample(*inner_products(lambda: (_expand(part, rows) for part in parts())))
    blocks = (change.float() @ block for block in _blocks(lambda: (_expand(part, rows) for part in parts())))
    return Comparison(
        sample=Sample(sample.full.mixed(change), sample.without_one.mixed(changes)),
        pure=pure_noise(blocks, len(REFERENCES), len(lengths)),
        pass_at_1=FIRST.index("pass_at_1"),
        length=FIRST.index("length"),
        entropy=FIRST.index("surprise"),
        loss=FIRST.index("loss"),
        batch=plan.prompts_per_batch,
        critical=critical_z(len(rows)),
    )


def _blocks(parts: Callable[[], Iterable[Tensor]]) -> Iterator[Tensor]:
    """Yield [M, R, w] of the first prompts, `PURE_PROMPTS` or a few more, some of the d numbers at a time."""
    first = next(iter(parts()))
    width = max(1, MAX_NUMBERS // (PURE_PROMPTS * first.shape[1]))
    for start in range(0, first.shape[2], width):
        blocks: list[Tensor] = []
        for part in parts():
            blocks.append(part[..., start : start + width].clone())
            if sum(map(len, blocks)) >= PURE_PROMPTS:
                break
        yield torch.cat(blocks)


def _change(size: int, ratio: Tensor, losses: list[int], factor: float) -> Tensor:
    """Return float64 [..., R, R], the matrix from the stored gradients to those that are compared; `ratio` is [...].

    The gradient of -log pi(o) becomes that of the mean entropy a token, S / L with S = E[-log pi(o)], L = E[length], up
    to a factor: d(S / L) = (dS - (S / L) dL) / L, with the sample's S / L. The gradients at the places `losses` get
    `factor`.
    """
    change = torch.eye(size, dtype=torch.float64).repeat(*ratio.shape, 1, 1)
    change[..., FIRST.index("surprise"), FIRST.index("length")] = -ratio
    change[..., losses, losses] = factor
    return change


def _expand(part: Part, rows: list[_Row]) -> Tensor:
    """Return [n, R, d]: the references as they are, and each rule on the groups of its kind, 0 on others."""
    some, every = part["success"].any(1), part["success"].all(1)
    is_kind = {
        "all_success": every,
        "mixed": some & ~every,
        "verified": some,
        "all_fail": ~some,
        "all": torch.ones_like(some),
    }
    vectors = part["vectors"]
    rules = [vectors[:, row.vector] * is_kind[row.kind].unsqueeze(1) for row in rows]
    return torch.cat([vectors[:, : len(FIRST)], torch.stack(rules, 1)], 1)


def _policy_row(comparison: Comparison, kinds: list[int]) -> dict[str, Any]:
    return {
        "rule": "policy_gradient",
        "label": "policy gradient (leave-one-out)",
        "groups": "all",
        "acts_on": kinds.count(KINDS.index("mixed")) / len(kinds),
        **estimate(comparison, comparison.pass_at_1),
        "coef_at": {f"{share:g}": None for share in FRACTIONS},
    }


def _rule_row(comparison: Comparison, counts: dict[str, Tensor], row: _Row, place: int) -> dict[str, Any]:
    acts = counts["acts"][:, row.vector]
    if row.kind in KINDS:
        acts = acts & (counts["kind"] == KINDS.index(row.kind))
    return {
        "rule": row.rule,
        "label": row.label,
        "groups": row.kind,
        "acts_on": float(acts.double().mean()),
        **estimate(comparison, place),
    }
