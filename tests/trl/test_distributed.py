"""The same gradient, metrics and ledger on 1, 2 and 3 processes (gloo), with groups that lie on several of them."""

import pytest
import torch

from tests.processes import run_ranks
from tests.trl.distributed import CASES, logged, results, work
from tests.trl.tiny import norm


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return results(tmp_path_factory.mktemp("single"), 1)


def launch(folder, num_processes, job="results"):
    run_ranks(work, num_processes, folder, job, log=folder / "log")
    return [torch.load(folder / f"process-{rank}-of-{num_processes}.pt") for rank in range(num_processes)]


def assert_same(expected, found):
    gradient, metrics, groups = expected
    assert norm({n: gradient[n] - found[0][n] for n in gradient}) < 1e-5 * norm(gradient)
    assert metrics.keys() == found[1].keys()
    assert all(found[1][k] == pytest.approx(metrics[k], rel=1e-4, abs=1e-6) for k in metrics)
    assert groups == found[2]


def assert_same_table(expected, found):
    """Rows of clips whose entropies may differ by rounding."""
    entropy = "echo/entropy"
    assert [{**row, entropy: None} for row in found] == [{**row, entropy: None} for row in expected]
    wanted = [row[entropy] or 0.0 for row in expected]
    assert [row[entropy] or 0.0 for row in found] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 3])
def test_results_do_not_depend_on_the_number_of_processes(tmp_path, single, num_processes):
    everyone = launch(tmp_path, num_processes)
    expected, *others = [per_process.pop("logged") for per_process in everyone]
    assert others == [None] * (num_processes - 1)
    assert_same_table(expected, logged(tmp_path / "single", 1))
    for per_process in everyone:
        for (name, _size, _accumulation), found in per_process.items():
            assert_same(single[name, 24, 1], found)


@pytest.mark.slow
def test_two_processes_resume_within_a_batch_and_three_between_batches(tmp_path):
    for weights in launch(tmp_path, 2, "resume"):
        for step in (1, 2):
            assert all(torch.equal(weights["whole"][n], weights[step][n]) for n in weights[step])
    assert launch(tmp_path, 3, "go_on") == [{"steps": 4, "groups": 4 + 6}] * 3


@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_micro_batches(single, case):
    assert_same(single[case, 24, 1], single[case, 6, 4])
    assert norm(single[case, 24, 1][0]) > 0
