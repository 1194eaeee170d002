"""Result of a probe, which probe.json holds, from the stored parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from echorl.lab.evaluate.plan import Work
from echorl.lab.probe.estimates import Asked, critical_z, estimate
from echorl.lab.probe.methods import NAME
from echorl.lab.probe.moments import Sample, inner_products, make_sample, mean_of, pure_noise
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import KINDS, REFERENCES, vector_names
from echorl.lab.probe.verdict import verdict

Part = dict[str, Tensor]
"""Gradients of some prompts and what goes with them, by name."""
Parts = Callable[[], Iterable[Part]]
FIRST = (*REFERENCES, "loss")
"""The vectors before those of the rules, in a part and in a sample."""
PURE_PROMPTS = 128
"""Prompts from which the error of pure noise is estimated, all of whose pairs are looked at."""
MAX_NUMBERS = 2**27
"""Of their gradients, that are in memory at once."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """A rule on a kind of group: which vector of a part it is, and of which prompts."""

    rule: str
    label: str
    kind: str
    vector: int


def sum_up(parts: Parts, model: str, work: Work, plan: Plan) -> dict[str, Any]:
    """Return the whole result, from the parts in order; `parts` is called several times."""
    rows = _rows(plan)
    counts = _counts(parts)
    asked = _ask(parts, rows, counts, plan)
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
        "critical_z": asked.critical,
        "policy_gradient": _policy_row(asked, counts),
        "rules": [_rule_row(asked, counts, row, place) for place, row in enumerate(rows, len(FIRST))],
        "bound": 1 / work.samples,
    }
    return {**result, "verdict": verdict(result)}


def _mean(values: Tensor) -> dict[str, float | None]:
    """The mean of [N, G] with an error over prompts."""
    found = mean_of(values.double().mean(1).tolist())
    return {"value": found.value, "se": found.se}


def _rows(plan: Plan) -> list[_Row]:
    rules = plan.rules()
    names = vector_names(rules)
    return [_Row(name, rule.label, kind, names.index(name)) for name, rule in rules.items() for kind in rule.kinds]


def _counts(parts: Parts) -> dict[str, Tensor]:
    """Everything of the parts but the gradients, a row a prompt; "kind" is int64 [N]."""
    each = [{name: value for name, value in part.items() if name != "vectors"} for part in parts()]
    found = {name: torch.cat([part[name] for part in each]) for name in each[0]}
    every, some = found["success"].all(1), found["success"].any(1)
    return {**found, "kind": torch.where(every, 0, torch.where(some, 1, 2))}


def _ask(parts: Parts, rows: list[_Row], counts: dict[str, Tensor], plan: Plan) -> Asked:
    surprise, lengths = counts["surprise"].double().sum(1), counts["lengths"].double().sum(1)
    ratio = surprise.sum() / lengths.sum()
    left = (surprise.sum() - surprise) / (lengths.sum() - lengths)
    factor = 1 / float(counts["lengths"].mean()) if plan.loss_type == "dapo" else 1.0
    size = len(FIRST) + len(rows)
    losses = [FIRST.index("loss"), *(place for place, row in enumerate(rows, len(FIRST)) if row.rule == NAME)]
    change, changes = (_change(size, each, losses, factor) for each in (ratio, left))
    sample = make_sample(*inner_products(lambda: (_expand(part, rows) for part in parts())))
    sample = Sample(sample.full.mixed(change), sample.left_out.mixed(changes))
    blocks = (change.float() @ block for block in _blocks(lambda: (_expand(part, rows) for part in parts())))
    pure = pure_noise(blocks, len(REFERENCES), len(lengths))
    places = {"pass_at_1": 0, "length": 1, "entropy": 2, "loss": 3}
    return Asked(sample=sample, pure=pure, batch=plan.prompts_per_batch, critical=critical_z(len(rows)), **places)


def _blocks(parts: Callable[[], Iterable[Tensor]]) -> Iterator[Tensor]:
    """[M, R, w] of the first prompts, `PURE_PROMPTS` or a few more, some of the d numbers at a time."""
    first = next(iter(parts()))
    width = max(1, MAX_NUMBERS // (PURE_PROMPTS * first.shape[1]))
    for start in range(0, first.shape[2], width):
        found: list[Tensor] = []
        for part in parts():
            found.append(part[..., start : start + width].clone())
            if sum(map(len, found)) >= PURE_PROMPTS:
                break
        yield torch.cat(found)


def _change(size: int, ratio: Tensor, losses: list[int], factor: float) -> Tensor:
    """float64 [..., R, R]: what makes of the rules' gradients those that are asked about; `ratio` is [...].

    The gradient of -log pi(o) becomes that of the mean entropy a token, S / L with S = E[-log pi(o)], L = E[length], up
    to a factor: d(S / L) = (dS - (S / L) dL) / L, with the sample's S / L. The gradients at the places `losses` get
    `factor`.
    """
    change = torch.eye(size, dtype=torch.float64).repeat(*ratio.shape, 1, 1)
    change[..., FIRST.index("surprise"), FIRST.index("length")] = -ratio
    change[..., losses, losses] = factor
    return change


def _expand(part: Part, rows: list[_Row]) -> Tensor:
    """[n, R, d]: the references as they are, the rules where a group is of their kind, else 0."""
    success = part["success"]
    is_kind = {
        "all_success": success.all(1),
        "mixed": success.any(1) & ~success.all(1),
        "verified": success.any(1),
        "all_fail": ~success.any(1),
        "all": torch.ones(len(success), dtype=torch.bool),
    }
    vectors = part["vectors"]
    ours = [vectors[:, row.vector] * is_kind[row.kind].unsqueeze(1) for row in rows]
    return torch.cat([vectors[:, : len(FIRST)], torch.stack(ours, 1)], 1)


def _policy_row(asked: Asked, counts: dict[str, Tensor]) -> dict[str, Any]:
    own = {"rule": "policy_gradient", "label": "policy gradient (leave-one-out)", "groups": "all"}
    mixed = float((counts["kind"] == KINDS.index("mixed")).double().mean())
    found = estimate(asked, asked.pass_at_1)
    return {**own, "acts_on": mixed, **found, "coef_at": dict.fromkeys(found["coef_at"])}


def _rule_row(asked: Asked, counts: dict[str, Tensor], row: _Row, place: int) -> dict[str, Any]:
    acts = counts["acts"][:, row.vector]
    if row.kind in KINDS:
        acts = acts & (counts["kind"] == KINDS.index(row.kind))
    own = {"rule": row.rule, "label": row.label, "groups": row.kind}
    return {**own, "acts_on": float(acts.double().mean()), **estimate(asked, place)}
