"""The plan: chunks that depend on settings alone, and room for completions."""

from __future__ import annotations

import pytest

from echorl.lab.evaluate.plan import room, seed_of
from echorl.lab.options import Sampling
from tests.lab.evaluate.fakes import work


def test_every_completion_stands_in_one_chunk_with_a_seed_of_its_own():
    chunks = list(work(samples=5, size=3).chunks(4, seed=0))
    requests = [request for chunk in chunks for request in chunk.requests]
    assert [(request.item.id, request.sample) for request in requests] == [
        (f"item-{i}", sample) for i in range(3) for sample in range(5)
    ]
    assert [len(chunk.requests) for chunk in chunks] == [4, 4, 4, 3]
    assert len({request.seed for request in requests} | {chunk.seed for chunk in chunks}) == 15 + 4


def test_seeds_depend_on_the_seed_and_the_benchmark():
    seeds = [
        [c.seed for c in work(name=name).chunks(4, seed)] for name, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    ]
    assert seeds[0] == seeds[1]
    assert len({tuple(values) for values in seeds}) == 3


def test_a_requests_seed_does_not_depend_on_chunks_or_other_items():
    small, large = (
        [r.seed for c in work(size=size).chunks(batch, 0) for r in c.requests] for size, batch in ((2, 3), (6, 8))
    )
    assert small == large[: len(small)]


def test_seeds_fit_32_bits():
    assert all(0 <= seed_of("x", i) < 2**32 for i in range(1000))


def test_the_key_knows_prompts_but_not_reference_answers():
    first, second = work(), work()
    changed = [type(item)(id=item.id, prompt=item.prompt, reference_answer="A") for item in second.items]
    object.__setattr__(second, "items", changed)
    assert first.key() == second.key()
    object.__setattr__(second, "items", [type(item)(id=item.id, prompt="x", reference_answer="A") for item in changed])
    assert first.key() != second.key()


@pytest.mark.parametrize(
    ("context", "longest", "wanted", "expected"),
    [
        (None, 500, None, 8192),
        (32768, 500, None, 8192),
        (4096, 500, None, 3596),
        (4096, 500, 100, 100),
        (None, 5, 9999, 9999),
    ],
)
def test_room(context, longest, wanted, expected):
    assert room(context, longest, wanted, "x") == expected


@pytest.mark.parametrize(("longest", "wanted"), [(4096, None), (4000, 97)])
def test_no_room(longest, wanted):
    with pytest.raises(ValueError, match=r"^math500: .*context.* 4096"):
        room(4096, longest, wanted, "math500")


@pytest.mark.parametrize("name", ["samples", "limit", "batch_size", "max_new_tokens"])
def test_counts_below_one(name):
    with pytest.raises(ValueError, match=f"^{name}=0 is not allowed: it must be .*a whole number from 1 to"):
        Sampling(**{name: 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("temperature", float("nan")), ("top_p", 0.0), ("top_p", 1.1), ("seed", -1)],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value} is not allowed: it must be"):
        Sampling(**{name: value})
