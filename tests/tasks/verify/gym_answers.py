"""Answers for every dataset of reasoning-gym whose scorer may run: its own, nonsense, and hostile ones.

`python -m tests.tasks.verify.gym_answers REPORT` scores them all as a worker would and writes what it saw as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from echorl.tasks.verify import worker_gym

MARKER = "marker"
"""The file that a payload would make in the working directory."""
MAKE = f"__import__('os').system('touch {MARKER}')"
OPEN = f"open('{MARKER}', 'w')"
FORGED = '{"result": 1.0, "reason": "", "last": false}'
PAYLOADS = (
    *(
        MAKE,
        f"[{MAKE}]",
        f"({MAKE},)",
        f"{{{MAKE}: 1}}",
        f"{{**{{1: {MAKE}}}}}",
        f"*[{MAKE}],",
        f"[[{MAKE}, 1], [2, 3]]",
    ),
    *(f'f"{{{MAKE}}}"', f"[f'''{{{MAKE}}}''']", f"(lambda: {MAKE})()", f"[{OPEN} for _ in [0]]", f"(x := {MAKE})"),
    *(f"{MAKE} if 1 else 2", f"1 + {MAKE}", f"[1, 2, 3][{MAKE}]", f"1 == {MAKE}", f"'%s' % {OPEN}", f"print({OPEN})"),
    *(f'eval("{MAKE}")', f'exec("{MAKE}")', f"ｅval('{OPEN}')", f"getattr(__builtins__, 'open')('{MARKER}', 'w')"),
    *(f'sympify("{MAKE}")', f'S("{MAKE}")', f'lambdify((), "{MAKE}")()', f'parse_expr("{MAKE}")', f'Poly("{MAKE}")'),
    *(f'x.subs(x, "{MAKE}")', f'sin("{MAKE}")', f'Symbol("x", {MAKE})', f"log(x, {MAKE})", f"exp(x={MAKE})"),
    f"sin.__class__.__init__.__globals__['__builtins__']['open']('{MARKER}', 'w')",
    f"x.__class__.__mro__[-1].__subclasses__()[0].__init__.__globals__['os'].system('touch {MARKER}')",
    f"[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0]('touch {MARKER}', shell=True)",
    f'!!python/object/apply:os.system ["touch {MARKER}"]',
    "[setattr(type(self), 'score_answer', lambda *a: 1.0)]",
    "[setattr(__import__('reasoning_gym').dataset.ProceduralDataset, 'score_answer', lambda *a: 1.0)]",
    "[setattr(__import__('json'), 'dumps', lambda *a: '1.0')]",
    *(f"[__import__('os').write({fd}, b'{FORGED}\\n')]" for fd in (1, 2, 3, 4)),
    *("[__import__('os')._exit(0)]", "[__import__('sys').exit(0)]", "exit()", "raise SystemExit", "yield", "await x"),
    *("9**9**9**9", "10**10**10", "(1/3)**(10**9)", "2**-(10**10)", "1<<10**10", "(x+1)**1000000", "factorial(10**9)"),
    *("'a'*10**10", "[0]*10**10", "{'a'}*9", "R9999999999", "A+99999999999", "1e999999999", "1/1e-999999999"),
    *(
        "(" * 9_000,
        "[" * 9_000,
        '{"a":' * 3_000,
        "-" * 9_000 + "1",
        "-" * 4_900 + "1",
        "x**" * 1_600 + "x",
        "9" * 19_000,
    ),
    *("exp(" * 90 + "x" + ")" * 90, "1" + "+1" * 2_400, "{" * 200 + "}" * 200, '{"__tuple__": [1]}'),
)
NONSENSE = (
    *("", " ", "nan", "NaN", "inf", "-inf", "1e308", "-1e308", "None", "null", "()", "[[]]", "[NaN, NaN]", "1/0"),
    *("the answer", "I don't know", "a" * 1000, "é☃\u202e\ud83d", "\x00", "'", "lambda: 0", "#", "...", '{"a": 1}'),
    *("[null]", "-", "9" * 5000, "True", "False", "yes", "no", "0", "1", "-1", "[]", "{}"),
)
"""The last of them are right where they are the reference answer."""
UNSOLVED = ("boxnet", "rush_hour")
"""Datasets whose instances hold no answer; `solved` has one."""


def solved() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(dataset, answer, instance) of `UNSOLVED`, written by hand."""
    state = {"0.5_0.5": ["box_red"], "0.5_1.5": ["target_red"]}
    steps = [{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}, {"Agent[0.5, 1.5]": "move(box_red, target_red)"}]
    yield "boxnet", json.dumps(steps), {"answer": None, "metadata": {"initial_state": state}}
    board = "oooooo" * 2 + "ooAAoo" + "oooooo" * 3
    yield "rush_hour", "A+2", {"answer": None, "metadata": {"board_config": board}}


def own_answer(entry: dict[str, Any]) -> str | None:
    """The answer that the instance holds; None where it holds none, or its integral as it stands in the question."""
    metadata = entry["metadata"]
    if "possible_answer" in metadata:
        return json.dumps(metadata["possible_answer"])
    answer = entry["answer"] or metadata.get("example_correct_answer")
    return None if answer is None or "Integral" in answer else str(answer)


def instances(size: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(dataset, own answer, instance) of every dataset whose scorer may run."""
    from reasoning_gym import create_dataset
    from reasoning_gym.factory import DATASETS

    for name in sorted(DATASETS):
        if worker_gym.is_checked(name) and name not in UNSOLVED:
            entries = create_dataset(name, seed=3, size=size)
            for entry in (entries[i] for i in range(size)):
                if (answer := own_answer(entry)) is not None:
                    yield name, answer, entry
    yield from solved()


def score(name: str, answer: str, entry: dict[str, Any]) -> float:
    """The score as a worker gives it; 0.0 where the scorer raises."""
    with contextlib.suppress(Exception):
        return worker_gym.reasoning_gym_score(name, "{}", answer, worker_gym.encode(entry)) or 0.0
    return 0.0


def is_reference_answer(text: str, entry: dict[str, Any]) -> bool:
    with contextlib.suppress(ValueError, TypeError):
        return float(text) == float(entry["answer"])
    return bool(entry["answer"]) and text.lower() == entry["answer"].lower()


def tampered() -> dict[str, bool]:
    """For each way to change what scores: whether the fingerprint shows it, and is the former once it is undone."""
    import reasoning_gym.algorithmic.spiral_matrix as module
    import sympy
    from reasoning_gym.arithmetic.gcd import GCDDataset

    ways = {
        "method": (GCDDataset, "score_answer"),
        "hidden builtin": (module, "len"),
        "eval": (module, "eval"),
        "parser": (sympy, "parse_expr"),
        "scorer of this file": (worker_gym, "_dataset"),
    }
    found = {}
    for way, (owner, name) in ways.items():
        before, had, value = worker_gym.fingerprint(), name in vars(owner), getattr(owner, name, None)
        setattr(owner, name, lambda *_: 1.0)
        changed = worker_gym.fingerprint() != before
        setattr(owner, name, value) if had else delattr(owner, name)
        found[way] = changed and worker_gym.fingerprint() == before
    return found


def report() -> dict[str, Any]:
    """What all the answers scored, as lists of what went wrong."""
    rows = list(instances(3))  # before warm_up: afterwards nothing evaluates, generators neither
    worker_gym.warm_up()
    before = worker_gym.fingerprint()
    refused = [(name, answer) for name, answer, entry in rows if score(name, answer, entry) != 1.0]
    firsts = {name: (answer, entry) for name, answer, entry in reversed(rows)}
    hits = []
    for name, (answer, entry) in firsts.items():
        hits += [(name, text[:80]) for text in PAYLOADS if score(name, text, entry) == 1.0]
        for payload in (MAKE, OPEN):
            score(name, f"{answer} + {payload}", entry)
    nonsense = [
        (name, text[:80])
        for name, _, entry in rows
        for text in NONSENSE
        if score(name, text, entry) == 1.0 and not is_reference_answer(text, entry)
    ]
    again = [name for name, (answer, entry) in firsts.items() if score(name, answer, entry) != 1.0]
    same = worker_gym.fingerprint() == before
    return {
        "datasets": len(firsts),
        "own answers refused": refused,
        "hostile accepted": hits,
        "nonsense accepted": nonsense,
        "own answers refused afterwards": again,
        "modules unchanged": same,
        "tampering seen": tampered(),
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    with open(sys.argv[1], "w") as file:
        json.dump(report(), file)
