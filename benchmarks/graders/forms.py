r"""About 60 surface forms of a reference answer, each applied only where it means the same for certain.

A form is a function of a `Text` that gives the answer as it would stand in `\boxed{}`, or None where it doesn't apply.
Those that write expressions anew are read back by `latex.py` and dropped unless they have the reference answer's value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.graders.reference_answers import ReferenceAnswer
from benchmarks.graders.rewriting import (
    FULL_WIDTH,
    Form,
    Text,
    decimal,
    fraction,
    full_width,
    left_right,
    mixed_number,
    named_value,
    repeating,
    replaced,
    scientific,
    slash,
    spaced,
    styled,
    substituted,
    sympy_latex,
    sympy_text,
    text_of,
    thin_spaces,
    thousands,
    unicode_minus,
    unicode_powers,
    unicode_roots,
    unicode_signs,
    unspaced,
    word,
    zero_width,
    zeros,
)
from benchmarks.graders.write import Style

MAX_CHARS = 200


def forms_of(reference: ReferenceAnswer) -> Iterator[tuple[str, str]]:
    """(name of the form, completion) of each form that applies to the reference answer."""
    if reference.kind == "choice":
        yield from ((name, form.format(reference.text)) for name, form in CHOICES.items())
    elif reference.kind == "number":
        yield from _forms_of_number(reference.text)
    else:
        yield from _forms_of_mathematics(text_of(reference.text))


def _forms_of_mathematics(text: Text) -> Iterator[tuple[str, str]]:
    yield "as it is", in_box(text.reference_answer)
    if text.structure is None:
        return
    written = {text.reference_answer}
    for name, form in FORMS.items():
        answer = form(text)
        if answer is not None and answer not in written and len(answer) <= MAX_CHARS:
            written.add(answer)
            yield name, in_box(answer)
    yield "box in display mode", f"So we get\n\\[\n\\boxed{{{text.plain}}}.\n\\]\n"
    yield "bold around the box", f"**Answer:** **$\\boxed{{{text.plain}}}$**"


def in_box(answer: str) -> str:
    """A completion with the answer in its box; no dollars around where the answer has marks of its own."""
    marked = any(mark in answer for mark in ("$", "\\(", "**"))
    return f"The answer is \\boxed{{{answer}}}." if marked else f"The answer is $\\boxed{{{answer}}}$."


DEGREE = r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)"
FORMS: dict[str, Form] = {
    "plain": lambda text: text.plain,
    "in dollars": lambda text: f"${text.plain}$",
    "in \\( \\)": lambda text: f"\\({text.plain}\\)",
    "spaced": spaced,
    "unspaced": unspaced,
    "thin spaces": thin_spaces,
    "\\left \\right": left_right,
    "\\displaystyle": lambda text: f"\\displaystyle {text.plain}",
    "trailing period": lambda text: f"{text.plain}.",
    "\\mathbf": lambda text: None if text.number is None else f"\\mathbf{{{text.plain}}}",
    "bold of Markdown": lambda text: f"**{text.plain}**",
    "dfrac": replaced("\\frac", "\\dfrac"),
    "tfrac": replaced("\\frac", "\\tfrac"),
    "frac without braces": substituted(r"\\frac\{([0-9])\}\{([0-9])\}", r"\\frac\1\2"),
    "slash": slash,
    "decimal of a fraction": decimal,
    "repeating decimal": repeating,
    "fraction of a decimal": fraction,
    "mixed number": mixed_number("{}\\frac{{{}}}{{{}}}"),
    "mixed number, plain": mixed_number("{} {}/{}"),
    "zeros": zeros,
    "leading zero": substituted(r"^(-?)\.", r"\g<1>0."),
    "thousands {,}": thousands("{,}"),
    "thousands ,": thousands(","),
    "thousands \\,": thousands("\\,"),
    "thousands space": thousands(" "),
    "thousands ~": thousands("~"),
    "power of ten \\times": scientific(" \\times"),
    "power of ten \\cdot": scientific(" \\cdot"),
    "power of ten x": scientific(" x"),
    "braces": substituted(r"([_^])([A-Za-z0-9])(?![A-Za-z0-9])", r"\1{\2}"),
    "no braces": substituted(r"([_^])\{([A-Za-z0-9])\}", r"\1\2"),
    "sqrt without braces": substituted(r"\\sqrt\s*\{([0-9])\}", r"\\sqrt\1"),
    "degree ^{\\circ}": substituted(DEGREE, r"^{\\circ}"),
    "degree ^\\circ": substituted(DEGREE, r"^\\circ"),
    "degree \\degree": substituted(DEGREE, r"\\degree"),
    "degree °": substituted(DEGREE, "°"),
    "percent": substituted(r"\\?%", r"\\%"),
    "percent, bare": substituted(r"\\%", "%"),
    "cdot": styled(Style(times="\\cdot"), needs="product"),
    "times": styled(Style(times="\\times"), needs="product"),
    "order of terms": styled(Style(reverse_terms=True), needs="sum"),
    "order of factors": styled(Style(reverse_factors=True), needs="product"),
    "sympy's LaTeX": sympy_latex,
    "sympy's text": sympy_text,
    "\\text for \\mbox": replaced("\\mbox", "\\text"),
    "word, bare": word("{}"),
    "word, \\textbf": word("\\textbf{{{}}}"),
    "word, \\mathrm": word("\\mathrm{{{}}}"),
    "x =": named_value,
    "minus of Unicode": unicode_minus,
    "powers of Unicode": unicode_powers,
    "letters of Unicode": unicode_signs,
    "√": unicode_roots,
    "full-width digits": full_width,
    "zero-width characters": zero_width,
}

CHOICES = {
    "box": "So it follows.\n\\boxed{{{}}}",
    "box, \\text": "\\boxed{{\\text{{{}}}}}",
    "box, \\textbf and parentheses": "\\boxed{{\\textbf{{({})}}}}",
    "the answer is": "We look at each.\nThe answer is {}.",
    "the answer is ()": "The answer is ({}).",
    "the correct answer is": "The correct answer is **{}**.",
    "answer:": "Answer: {}",
    "answer: of full width": "Answer：{}",
    "final answer": "Final Answer: ({})",
    "tag": "<think>Each is weighed.</think><answer>{}</answer>",
    "tag, sentence": "<answer>The answer is {}</answer>",
    "option": "The correct option is {}.",
}

_NUMBERS = {
    "####": "So it is.\n#### {}",
    "box": "So we get \\boxed{{{}}}.",
    "tag": "<answer>{}</answer>",
    "sentence": "Let us see.\nThe answer is {}.",
    "dollar": "#### ${}",
    "unit": "#### {} apples",
    "bold": "#### **{}**",
    "period": "#### {}.",
    "heading": "#### Final Answer\n\n{}",
    "dollar, box": "\\boxed{{\\${}}}",
    "unit, box": "\\boxed{{{}\\text{{ apples}}}}",
}


def _forms_of_number(text: str) -> Iterator[tuple[str, str]]:
    number = text.replace(",", "")
    for name, form in _NUMBERS.items():
        if "dollar" not in name or number[0] != "-":
            yield name, form.format(number)
    if not re.fullmatch("-?[0-9]+", number):
        return
    value = int(number)
    yield ".00", f"#### {number}.00"
    yield "equation", f"#### {value - 20} + 20 = {value}" if value > 20 else f"#### {value + 20} - 20 = {value}"
    yield "full-width digits", f"#### {number.translate(FULL_WIDTH)}"
    if value < 0:
        yield "minus of Unicode", f"#### −{-value}"
    if abs(value) >= 1000:
        for separator in (",", "{,}", "\\,", " "):
            yield f"thousands {separator}", f"\\boxed{{{value:,}}}".replace(",", separator)
