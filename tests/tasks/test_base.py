import pytest

from echorl.tasks import TASKS, load_task
from echorl.tasks.base import completion_text, make_verifier
from echorl.tasks.verify.reading import final_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1+1=2\n#### 2", "2"),
        ("#### 1\n#### 2 ", "2"),
        ("<answer>1</answer> <answer>2</answer>", "2"),
        ("<answer>unclosed", "<answer>unclosed"),
        ("a\n\n2\n \n", "2"),
        ("####", ""),
        ("", ""),
        (" \n\n ", ""),
        ("#### a\nb", "a\nb"),
    ],
)
def test_final_answer_is_read_after_its_mark(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize("text", ["<answer>" * 50_000, "#" * 1_000_000, "\n" * 1_000_000, "<answer>" + "x" * 1_000_000])
def test_final_answer_takes_no_time_on_long_text(text: str) -> None:
    final_answer(text)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("a", "a"),
        ([{"role": "assistant", "content": "a"}], "a"),
        ([{"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}], "b"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}], "a"),
        ([{"role": "assistant", "content": None}], ""),
        ([], ""),
    ],
)
def test_completion_text_is_that_of_the_last_message(completion, text: str) -> None:
    assert completion_text(completion) == text


def test_rows_of_another_task_get_none() -> None:
    verifier = make_verifier("length", "wanted", lambda rows, _: [float(len(text) == int(n)) for text, n in rows])
    assert verifier(prompts=["p"] * 3, completions=["a", "b", "c"], wanted=["1", None, "2"]) == [1.0, None, 0.0]
    assert verifier(completions=[], wanted=[]) == []
    assert verifier.__name__ == "length"


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the column 'wanted'"):
        make_verifier("length", "wanted", lambda rows, _: [0.0])(completions=["a"])


def test_unknown_names_and_options_list_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'gsm9k'; choose one of reasoning_gym, gsm8k"):
        load_task("gsm9k")
    with pytest.raises(ValueError, match=r"has no option 'path'; it has data, template, chat, timeout"):
        load_task("gsm8k", path="x")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_refuses_unknown_splits_and_sizes(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no '\{question\}'"):
        load_task(name, template="Solve it.")
    with pytest.raises(ValueError, match="unknown split 'dev'; choose one of train, validation"):
        load_task(name).dataset("dev")
    with pytest.raises(ValueError, match="size 0 is not a number of rows"):
        load_task(name).dataset("train", size=0)
