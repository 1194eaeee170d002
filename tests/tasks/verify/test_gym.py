import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("reasoning_gym")

from echorl.tasks import load_task
from echorl.tasks.verify import GRADERS, ReasoningGymGrader, worker_gym
from echorl.tasks.verify.worker_gym_checks import arithmetic_value, has_form, is_right
from echorl.tasks.verify.worker_gym_parsers import evaluate_literal, parse_expression
from echorl.verl.reward import compute_score
from tests.tasks.verify.gym_answers import MAKE, MARKER, PAYLOADS

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> dict[str, Any]:
    """What every dataset gave to its own answers, nonsense and payloads, in one process like a worker."""
    folder = tmp_path_factory.mktemp("scored")
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    command = [sys.executable, "-m", "tests.tasks.verify.gym_answers", str(folder / "report.json")]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {**json.loads((folder / "report.json").read_text()), "files": os.listdir(folder), "stdout": done.stdout}


def test_no_answer_runs(scored) -> None:
    from reasoning_gym.factory import DATASETS

    assert scored["datasets"] == len(DATASETS) - 2
    assert scored["files"] == ["report.json"]
    assert '"result"' not in scored["stdout"]
    assert scored["modules unchanged"]


@pytest.mark.parametrize("kind", ["own answers refused", "own answers refused afterwards"])
def test_own_answers_score_one(scored, kind: str) -> None:
    assert scored[kind] == []


@pytest.mark.parametrize("kind", ["hostile accepted", "nonsense accepted"])
def test_hostile_and_nonsense_answers_fail(scored, kind: str) -> None:
    assert scored[kind] == []


def test_the_fingerprint_shows_a_change(scored) -> None:
    assert scored["tampering seen"] == dict.fromkeys(scored["tampering seen"], True)


def test_through_the_pool(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    payload = f"[__import__('os').system('touch {tmp_path / MARKER}')]"
    cases = []
    for name in ("spiral_matrix", "n_queens", "countdown", "simple_integration"):
        instances = load_task("reasoning_gym", generator=name).dataset("test", size=2)["instance"][:]
        cases += [(payload, instances[0], 0.0), (f"#### {json.loads(instances[1])['answer']}", instances[1], 1.0)]
    integral = {"integrand": "x**2*sin(x)", "variable": "x"}
    cases += [
        (text, json.dumps({"generator": name, "config": {}, "answer": answer, "metadata": metadata}), expected)
        for name, answer, metadata, text, expected in (
            ("intermediate_integration", "", integral, "-x**2*cos(x) + 2*x*sin(x) + 2*cos(x) + C", 1.0),
            ("intermediate_integration", "", integral, "Integral(x**2*sin(x), x) + C", 0.0),
            ("polynomial_multiplication", "x**2 + 2*x", {}, "2*x + x*x", 1.0),
            ("polynomial_multiplication", "x**2 + 2*x", {}, "expand(x*(x + 2))", 0.0),
            ("game_of_life_halting", "True", {}, "nonsense", 0.0),
        )
    ]
    verdicts = GRADERS["reasoning_gym"].grade(
        [text for text, _, _ in cases], [reference_answer for _, reference_answer, _ in cases]
    )
    assert [float(verdict.score == 1.0) for verdict in verdicts] == [expected for _, _, expected in cases]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "instance", "right", "wrong"),
    [
        ("game_of_life_halting", {"answer": "True"}, ["True", "true", "'True'."], ["nan", "False", "x", "1", "[]"]),
        ("game_of_life_halting", {"answer": "False"}, ["False"], ["True", "0", "no", "nonsense"]),
        ("coin_flip", {"answer": "0.234375"}, ["0.234375", "15/64", "0.2344", ".2343"], ["0", "0.2", "0.23", "-1/3"]),
        ("coin_flip", {"answer": "1"}, ["1", "1.0", "7/7"], ["1e308", "1e999999999", "0.99", "1.1", "nan", "1e-9"]),
        ("coin_flip", {"answer": "3.051757812e-05"}, ["1/32768", "3.05e-5"], ["0", "0.0001", "13e-5", "0.00006"]),
        ("complex_arithmetic", {"answer": ""}, ["3 - 2i", "(1.5+j)", "1e2"], ["nan", "inf", "nani", "infinity+j", ""]),
        ("puzzle24", {"metadata": {"numbers": [4, 8, 6, 2]}}, ["4*8 - 6 - 2"], ["6*4*1*1", "8*6/2", "4*8-6-2.0"]),
        ("puzzle24", {"metadata": {"numbers": [7, 7, 2, 1]}}, ["(7*7-1)/2"], ["7*7/2*1", "7+7+2*1", "(7*7-1)/2**1"]),
        ("puzzle24", {"metadata": {"numbers": [3, 3, 7, 7]}}, ["7*(3+3/7)"], ["3*7+3+7*0", "24", "7*(3+3//7)"]),
        (
            "countdown",
            {"metadata": {"numbers": [3, 8, 1, 1, 4], "target": 100}},
            ["(3*8 + 1*1)*4", "(3*8 + 1**1)*4"],
            ["3*4*8 + 4", "3*4*8 + 4*1*1 + 0", "1e2 + 0*3*8*1*1*4", "100", "(3*8 + 1*1)*4 = 100"],
        ),
        ("countdown", {"metadata": {"numbers": [1000, 3], "target": 333}}, [], ["1000/3"]),
        (
            "number_sorting",
            {"metadata": {"sorted_numbers": ["-2.5", "3.0"]}},
            ["['-2.5', '3']"],
            ["[NaN, NaN]", "[-2, 3]"],
        ),
        (
            "gsm_symbolic",
            {"answer": "5"},
            ["5", "$5", "5 apples", "5%", "x is 5."],
            ["-5", "5/7", "5 or 6", "not 5", "5e3"],
        ),
        ("gsm_symbolic", {"answer": "1"}, ["1", "1.0"], ["1,234", "1:30", "1 × 10", "1^2", "-$1", "1 + 1", "1!"]),
        ("polynomial_equations", {"answer": "0.5"}, ["0.5", "+.5", "5e-1"], ["0.5, x", "0.5 or 3, 0.5", "nan"]),
        ("polynomial_equations", {"answer": ""}, ["", '""'], ["none", "x", "the answer"]),
        ("quantum_lock", {"answer": "A → B"}, ["A → B", "a, b", "AB", "press A then B"], ["the answer", "back", "ABX"]),
        ("rubiks_cube", {}, ["U R2 F'", "U50"], ["R9999999999", "U999 " * 9]),
        ("rush_hour", {}, ["A+2 B-1"], ["A+99999999999"]),
        ("boxnet", {}, ['[{"Agent[1]": "move(box_a, target_a)"}]'], ['[{"Agent[1]": "move(target_a, square[1, 2])"}]']),
        ("figlet_font", {"answer": "WINDOWPANES"}, ["windowpanes", "W I N DOWPANES"], ["windowpanex", "windowpanesx"]),
        ("word_sorting", {"metadata": {"sorted_words": ["a", "b"]}}, ["a, b"], ["a, b, c"]),
        ("letter_jumble", {"answer": "a word"}, ["a word"], ["a word or two"]),
        ("game_of_life", {"answer": "[[0,1]]"}, ["[[0, 1]]"], ["[[0, 1, 1]]", "[[0,1],[0,1]]"]),
        ("spell_backward", {"answer": "drow"}, ["drow", "Drow"], ["drowx"]),
        (
            "fraction_simplification",
            {},
            [r"$\frac{1}{2}$", "1/2", r"\dfrac{ 1 }{ 2 }."],
            [r"\frac{1}{2} or 3", r"\frac{1}{2}5"],
        ),
        (
            "time_intervals",
            {"metadata": {"task_type": "date"}},
            ["34 days", "34", "34 days."],
            ["34 or 7", "34 days or 59 days"],
        ),
        (
            "time_intervals",
            {"metadata": {"task_type": "datetime"}},
            ["3 days, 01:04:00", "3 days, 1:04"],
            ["3 days, 01:04:00, x"],
        ),
    ],
)
def test_checks_of_answers(name: str, instance: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    def passes(answer: str) -> bool:
        return has_form(name, answer, instance) and is_right(name, answer, instance)

    assert [answer for answer in right if not passes(answer)] == []
    assert [answer for answer in wrong if passes(answer)] == []


@pytest.mark.parametrize("text", PAYLOADS)
def test_the_parsers_evaluate_nothing(text: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for parser in (evaluate_literal, parse_expression):
        try:
            value = parser(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, ZeroDivisionError):
            continue
        assert len(str(value)) < 10_000
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7*X**9 - 2*X**6/3 + C", "C + 7*X**9 - 2*X**6/3"),
        ("-x*cos(x) + exp(2*x)/2 + log(abs(x), 2)", "-x*cos(x) + exp(2*x)/2 + log(Abs(x))/log(2)"),
        ("Rational(1, 2)*x + 0.25", "x/2 + 0.25"),
        ("E**x - +-pi\n*2", "exp(x) + 2*pi"),
        ("sqrt(-x - 1)*(2*x + 3)**100", "sqrt(-x - 1)*(2*x + 3)**100"),
    ],
)
def test_expressions(text: str, expected: str) -> None:
    import sympy

    assert parse_expression(text, {"x": sympy.Symbol("x")}) == sympy.parse_expr(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("Integral(x, x)", "expand((x+1)**2)", "x.diff()", "oo", "x + nan", "1/0", "Symbol", "__name__", "x__y", "_"),
        *(
            "0x10 + x",
            "1_000",
            "1j",
            "'x'",
            "sin(x)(x)",
            "sin",
            "f(x)",
            "exp()",
            "exp(1, 2)",
            "exp(*x)",
            "x if x else 1",
        ),
        *("x^2", "x = 1", "x < 1", "[x]", "x % 2", "x // 2", "2**100000", "(x+1)**101", "x**1001", "é", "x²", "1e999"),
    ],
)
def test_other_expressions_are_refused(text: str) -> None:
    with pytest.raises((ValueError, SyntaxError, TypeError)):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[['_', 'Q'], ['Q', '_']]", [["_", "Q"], ["Q", "_"]]),
        (" [1, -2.5, None, True] ", [1, -2.5, None, True]),
        ("((0x123 + 0x4) << 1) - 0x2 * 3 >> 1", 292),
        ("10//3 + -2", 1),
    ],
)
def test_literals(text: str, expected: Any) -> None:
    assert evaluate_literal(text) == expected


def test_arithmetic() -> None:
    assert arithmetic_value("7*(3 + 3/-7)", powers=False)[0] == 18
    with pytest.raises(ValueError, match="too large"):
        arithmetic_value("9**9**9", powers=True)


@pytest.mark.parametrize("name", ["composite", "propositional_logic"])
def test_other_scorers_are_refused_by_name(name: str) -> None:
    reference_answer = json.dumps({"generator": name, "answer": "P", "metadata": {}})
    message = rf"the scorer of reasoning-gym's '{name}' is not on the list .*, or set trust_scorers: true"
    for refused in (
        lambda: load_task("reasoning_gym", generator=name),
        lambda: GRADERS["reasoning_gym"].grade(["P"], [reference_answer]),
        lambda: compute_score("x", "P", reference_answer, grader="reasoning_gym"),
        lambda: compute_score(f"reasoning_gym/{name}", "P", reference_answer),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    with pytest.raises(PermissionError):
        worker_gym.reasoning_gym_score("propositional_logic", "{}", "P", reference_answer)


def test_trusted_scorers_run() -> None:
    metadata = {"premises": ["¬P", "P ∨ Q"], "variables": ["P", "Q"]}
    reference_answer = json.dumps(
        {"generator": "propositional_logic", "config": {}, "answer": None, "metadata": metadata}
    )
    texts = ["#### Q ∧ ¬P", "#### P ∧ Q", "#### R ∨ Q"]
    verdicts = ReasoningGymGrader(trust_scorers=True).grade(texts, [reference_answer] * 3)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.05, 0.0]
    task = load_task("reasoning_gym", generator="propositional_logic", trust_scorers=True)
    assert task.verifier(completions=texts, instance=[reference_answer] * 3) == [1.0, 0.0, 0.0]
    options = {"task": "reasoning_gym/propositional_logic", "trust_scorers": True}
    assert compute_score("x", texts[0], reference_answer, **options) == {"score": 1.0, "acc": 1.0, "timeout": 0.0}
    assert compute_score("x", texts[1], reference_answer, grader="reasoning_gym", trust_scorers=True)["score"] == 0.05


@pytest.mark.parametrize("value", [1e13, -0.1, float("nan"), None, "1", float("inf")])
def test_a_score_is_a_share_of_one(value, monkeypatch) -> None:
    from reasoning_gym.arithmetic.chain_sum import ChainSumDataset

    monkeypatch.setattr(ChainSumDataset, "score_answer", lambda *_: value)
    reference_answer = json.dumps({"generator": "chain_sum", "answer": "4", "metadata": {}})
    assert GRADERS["reasoning_gym"].grade(["4"], [reference_answer])[0].score == 0.0


def test_scorers_that_may_evaluate_need_the_workers_parsers() -> None:
    with pytest.raises(PermissionError, match="warm_up first"):
        worker_gym.reasoning_gym_score("spiral_matrix", "{}", MAKE, '{"answer": "1 2", "metadata": {}}')
