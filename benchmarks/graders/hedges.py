"""Wrong answers that contain the reference answer: alternatives, denials, ranges, compound values, other choices.

Each is wrong by construction. `{a}` is the reference answer, `{b}` another one of the same kind with another value.
"""

from __future__ import annotations

MATHEMATICS = {
    "A or B": "{a} \\text{{ or }} {b}",
    "B or A": "{b} \\text{{ or }} {a}",
    "A or B, words": "{a} or {b}",
    "\\lor": "{a} \\lor {b}",
    "\\vee": "{b} \\vee {a}",
    "A and B": "{a} \\text{{ and }} {b}",
    "not A": "\\text{{not }} {a}",
    "not A, words": "not {a}",
    "\\neg": "\\neg {a}",
    "\\ne A": "\\ne {a}",
    "\\neq A": "x \\neq {a}",
    "anything but A": "\\text{{anything but }} {a}",
    "A is wrong": "{a} \\text{{ is wrong}}",
    "B, not A": "{b} \\text{{, not }} {a}",
    "between": "\\text{{between }} {b} \\text{{ and }} {a}",
    "A to B": "{a} \\text{{ to }} {b}",
    "at least": "\\text{{at least }} {a}",
    "less than": "\\text{{less than }} {a}",
    "half of A": "\\text{{half of }} {a}",
    "two boxes": "{a}}}$ or $\\boxed{{{b}",
    "two boxes, maybe": "{a}}}$, or maybe $\\boxed{{{b}",
}
NUMBERS_IN_MATHEMATICS = {
    "\\pm": "{a} \\pm 1",
    ">": "> {a}",
    "<": "x < {a}",
    "\\ge": "\\ge {a}",
    "false equation": "{b} = {a}",
    "compound value": "{a} \\text{{ hours and }} 30 \\text{{ minutes}}",
    "compound value, feet": "{a} \\text{{ feet }} 6 \\text{{ inches}}",
    "million": "{a} \\text{{ million}}",
    "and a half": "{a} \\text{{ and a half}}",
    "list with B": "{a}, {b}",
    "range": "[{a}, {b}]",
    "point": "({a}, {b})",
}
"""For reference answers that are one plain number other than 0."""

NUMBERS = {
    "not A": "not {a}",
    "A or B": "{a} or {b}",
    "B or A": "{b} or {a}",
    "A and B": "{a} and {b}",
    "between": "between {b} and {a}",
    "from A to B": "from {a} to {b}",
    "false equation": "{b} = {a}",
    "false equation, other end": "{a} = {b}",
    "±": "{a} ± 1",
    "\\pm": "{a} \\pm 1",
    "base": "{a}_{{12}}",
    "\\ne": "\\ne {a}",
    "!=": "!= {a}",
    ">": "> {a}",
    "at least": "at least {a}",
    "more than": "more than {a}",
    "less than": "less than {a}",
    "times a percentage": "{a} * 50%",
    "product": "{a} * {b}",
    "quotient": "{a} / 2",
    "sum": "{a} + 1",
    "difference": "{a} - 1",
    "power": "{a}^2",
    "list": "{a}, {b}",
    "range": "{a}-{b}",
    "million": "{a} million",
    "thousand": "{a} thousand",
    "and a half": "{a} and a half",
    "half of": "half of {a}",
    "B, not A": "{b} (not {a})",
    "is wrong": "{a} is wrong",
    "compound value": "{a} hours and 30 minutes",
    "mixed number": "{a} 1/2",
    "ratio": "{a}:{b}",
    "power of ten": "{a}e3",
    "two numbers": "{a} {b}",
}
"""For reference answers that are plain positive numbers; behind `####`, in a box or in a tag."""
PLACES = {"####": "So it is.\n#### {}", "box": "So we get \\boxed{{{}}}.", "tag": "<answer>{}</answer>"}

CHOICES = {
    "other letter, box": "\\boxed{{{b}}}",
    "other letter, sentence": "The answer is {b}.",
    "other letter, tag": "<answer>{b}</answer>",
    "other letter with text": "\\boxed{{{b}. ({a}) is what some say}}",
    "other letter, then why": "The answer is ({b}), since ({a}) does not hold.",
    "A or B": "The answer is {a} or {b}.",
    "A or B, box": "\\boxed{{{a} \\text{{ or }} {b}}}",
    "\\vee": "\\boxed{{{a} \\vee {b}}}",
    "maybe": "\\boxed{{{a} or maybe {b}}}",
    "A and B": "The answer is {a} and {b}.",
    "A and B only": "The answer is {a} and {b} only.",
    "A/B": "\\boxed{{{a}/{b}}}",
    "A, B": "\\boxed{{{a}, {b}}}",
    "AB": "\\boxed{{{a}{b}}}",
    "not A": "The answer is not {a}.",
    "not A, box": "\\boxed{{\\text{{not }} {a}}}",
    "anything but": "<answer>anything but {a}</answer>",
    "neither": "The answer is neither {a} nor {b}.",
    "either": "The answer is either {a} or {b}.",
    "is wrong": "The answer {a} is wrong.",
    "\\neg": "\\boxed{{\\neg {a}}}",
    "\\ne": "\\boxed{{\\ne {a}}}",
    "between": "The answer is between {a} and {b}.",
    "two answers": "<answer>{a}</answer> or <answer>{b}</answer>",
}
LETTER_A = {
    "article": "The answer is A $500 fine.",
    "article, noun": "The answer is A dog and a cat.",
    "article, tag": "<answer>A large increase in price</answer>",
}
"""For the reference answer A: the article is no choice."""
