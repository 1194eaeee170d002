"""The pieces of dynamic sampling: how many groups are drawn and which, and what moves between processes."""

from __future__ import annotations

import pytest
import torch

from echorl.core.communication import SingleProcess
from echorl.trl.methods.dapo import groups_to_draw
from echorl.trl.sampling.filtered_clips import make_shares
from echorl.trl.sampling.rows import even_out
from echorl.trl.sampling.stream import PromptStream


def test_groups_drawn_can_be_dealt_evenly_and_are_never_too_many():
    for missing in range(20):
        for generations in (2, 4, 6, 8):
            for processes in (1, 2, 3, 4, 8, 16):
                drawn = groups_to_draw(missing, generations, processes)
                assert 0 <= drawn <= missing
                assert drawn * generations % processes == 0
                assert missing - drawn < processes


def test_the_stream_has_every_row_once_an_epoch_in_an_order_of_its_own():
    stream = PromptStream(50, seed=3)
    epochs = [stream.draw(20) + stream.draw(30) for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = PromptStream(50, seed=3)
    again.drawn = 70
    assert again.draw(30) == epochs[1][20:]
    assert PromptStream(50, seed=4).draw(50) != epochs[0]
    assert epochs[0] != torch.randperm(50, generator=torch.Generator().manual_seed(3)).tolist()


def test_accepted_rows_beyond_a_process_places_go_to_those_that_miss_some():
    counts, size = [7, 2, 0, 6], 4
    numbers = torch.arange(15).split(counts)
    blocks = [
        {
            "completion_ids": (own + 3).unsqueeze(1).expand(-1, 2 + process),
            "completion_mask": torch.ones(len(own), 2 + process, dtype=torch.int64),
            "advantages": own.float(),
        }
        for process, own in enumerate(numbers)
    ]
    spare = [{key: value[size:] for key, value in block.items()} for block in blocks]

    class Process(SingleProcess):
        def __init__(self, rank):
            self.rank = rank

        def gather_objects(self, objects):
            return spare

    found = [even_out(block, counts, size, 0, Process(rank)) for rank, block in enumerate(blocks)]
    assert [len(rows["advantages"]) for rows in found] == [4, 4, 3, 4]
    assert sorted(torch.cat([rows["advantages"] for rows in found]).tolist()) == list(range(15))
    assert found[1]["completion_ids"].tolist()[:2] == [[10, 10, 10, 0, 0], [11, 11, 11, 0, 0]]
    assert (found[1]["completion_mask"].sum(1) == torch.tensor([3, 3, 2, 2])).all()


@pytest.mark.parametrize(("own", "count", "number"), [(3, 5, 2), (0, 2, 4), (5, 5, 5), (0, 0, 3)])
def test_every_process_makes_the_same_short_forwards_whatever_clips_it_has(own, count, number):
    weights = torch.zeros(6, 7)
    for row in range(own):
        weights[row, : row + 2] = 1 / (row + 2)
    ids = torch.arange(42).view(6, 7)
    rows = {"prompt_ids": ids[:, :2], "prompt_mask": ids[:, :2], "completion_ids": ids, "completion_mask": ids}
    shares = make_shares({**rows, "echo_weights": weights}, torch.arange(own), count, number)
    sizes = [len(share["ids"]) if share else 0 for share in shares]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    found = [mass for share in shares if share for mass in share["weights"].sum(1).tolist()]
    assert found == pytest.approx([1.0] * own + [0.0] * (count - own))
