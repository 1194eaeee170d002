"""All numbers of an audit, as the JSON that audit.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from echorl.lab.audit.advice import KINDS, advise
from echorl.lab.audit.evidence import Place
from echorl.lab.audit.export import Excerpt
from echorl.lab.audit.findings import Suspect, Suspects
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.losses import Losses, measure_losses, recent_groups
from echorl.lab.audit.rates import count_successes, usual_size
from echorl.lab.audit.savings import DynamicSampling, dynamic_sampling, replay_skipping
from echorl.lab.audit.sizes import measure_sizes
from echorl.lab.audit.summary import no_curve, sentences


def measure(
    groups: GroupTable, suspects: Suspects, excerpts: Mapping[Place, Excerpt], log: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that an audit tells, ready for JSON.

    Args:
        excerpts: place of a suspect's rollout -> its texts; a place that could not be read is missing.
        log: the places, files, columns and notes of the log.

    Raises:
        ValueError: there is no group.
    """
    losses, recent = measure_losses(groups), recent_groups(groups)
    sizes, sampling, size = measure_sizes(recent), _sampling(losses), usual_size(groups)
    parts = losses.recent.groups
    shares = {kind: parts.get(f"{kind}_no_gradient", parts[kind]).value for kind in KINDS if kind in parts}
    shares["mislabelled"] = suspects.counts["mislabelled"] / losses.whole.num_prompts
    shown = asdict(losses)
    results = {
        "echorl": "audit",
        "log": {
            **log,
            "notes": [*log["notes"], *no_curve(shown)],
            "unit": groups.unit,
            "has_texts": bool((groups.num_texts >= 0).any()),
        },
        "losses": shown,
        "successes": {"whole": count_successes(groups, size), "recent": count_successes(recent, size)},
        "sizes": None if sizes is None else asdict(sizes),
        "sampling": None if sampling is None else asdict(sampling),
        "skipping": asdict(replay_skipping(groups)),
        "suspects": {
            "counts": {**suspects.counts},
            "lines": suspects.lines(),
            "agreement": suspects.agreement,
            "rejected_share": suspects.rejected_share,
            "doubt": suspects.doubt,
            "listed": [{**asdict(each), **_texts(each, excerpts)} for each in suspects.listed],
        },
        "advice": [{**asdict(each), "sentence": each.sentence} for each in advise(shares)],
    }
    return {**results, "summary": sentences(results)}


def _sampling(losses: Losses) -> DynamicSampling | None:
    """Return the cost of full batches of the last fifth's size; None where the log has no steps."""
    if losses.recent_batch is None:
        return None
    return dynamic_sampling(losses.recent.groups["no_gradient"], max(1, round(losses.recent_batch.groups)))


def _texts(suspect: Suspect, excerpts: Mapping[Place, Excerpt]) -> dict[str, str | None]:
    """Return the prompt of a suspect, None where it is about the whole log, and the response of one of its rollouts."""
    texts = [excerpts[place] for place in suspect.places if place in excerpts]
    prompt = next((each.prompt for each in texts), None)
    response = next((each.response for each in texts if each.response), None)
    return {"text": None if suspect.prompt is None else prompt, "response": response}
