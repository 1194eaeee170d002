r"""Tokenizer of an answer in LaTeX or plain text, without layout, in time linear in the text's length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from echorl.tasks.verify.reading import Replacements, plain_characters, replace_all

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth ln log lg exp max min gcd lcm sqrt".split()
)
SYNONYMS = {
    "infinity": "infty", "inf": "infty", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "imath": "i",
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac", "xfrac": "frac",
    "dbinom": "binom", "tbinom": "binom",
    "leqslant": "le", "leq": "le", "lt": "<", "geqslant": "ge", "geq": "ge", "gt": ">", "neq": "ne",
    "simeq": "approx", "cong": "approx", "sim": "approx", "cdotp": "*", "cdot": "*", "times": "*", "ast": "*",
    "div": "/", "varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta", "varrho": "rho", "degree": "circ",
    "emptyset": "varnothing", "lvert": "|", "rvert": "|", "vert": "|", "lVert": "|",
    "rVert": "|", "Vert": "|", "backslash": "setminus", "smallsetminus": "setminus", "dots": "ldots", "cdots": "ldots",
    "dotsc": "ldots", "overrightarrow": "vec", "widehat": "hat", "widetilde": "tilde", "to": "rightarrow",
    "lbrack": "[", "rbrack": "]",
    "lbrace": "lset", "rbrace": "rset", "{": "lset", "}": "rset", "bigcup": "cup", "bigcap": "cap", "mp": "pm",
    "ceiling": "ceil", "(": "", ")": "", "[": "", "]": "",
    **dict.fromkeys(  # these change the appearance alone
        "mathbf mathit mathsf boldsymbol bm bf rm it pmb underline displaystyle textstyle limits left right big Big "
        "bigg Bigg bigl bigr Bigl Bigr biggl biggr middle angle boxed fbox large Large LARGE huge Huge small "
        "normalsize checkmark".split(), ""
    ),
}  # fmt: skip
"""A command or word -> its synonym; "" for a command without a meaning."""
TEXT = frozenset("text mbox hbox textrm textbf textit textnormal mathrm operatorname".split())
_LAYOUT: Replacements = (
    (re.compile(r"(?<=[0-9]),\s*\\!\s*(?=[0-9])"), "{,}"),
    (re.compile(r"\\(?:text)?color\s*\{[A-Za-z]+\}"), " "),
    (re.compile(r"(?<!\\)\\(?:[,;:> !]|(?:quad|qquad|enspace|thinspace)(?![A-Za-z]))|~"), " "),
    (re.compile(r"(?<![A-Za-z\\])(?:np|numpy|math|sympy)\.(?=[a-z])"), ""),
    (re.compile(r"\\?\$|[£€]"), " "),
    (re.compile(r"\\?%|\\text\s*\{\s*(?:percent|pct)\s*\}|(?<![A-Za-z])percent(?![A-Za-z])"), r"\\%"),
    (re.compile(r"(?<=[0-9}])\s*[xX]\s*(?=10\s*\^)"), r"\\cdot "),
)
_MARKDOWN = re.compile(r"\s*(\*\*|__)(.*)\1\s*", re.DOTALL)

_COMMAS = r"|(?<![0-9],)[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])(?:\.[0-9]+)?"
"""A number with commas between its thousands. Further commas around it make a list."""
_TOKENS = {
    commas: re.compile(
        rf"(?P<thousands>[1-9][0-9]{{0,2}}(?P<mark>\{{,\}}| )[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*(?![0-9])(?:\.[0-9]+)?"
        rf"{_COMMAS if commas else ''})"
        r"|(?P<number>(?:[0-9]+\{,\}(?![0-9]{3}(?![0-9]))[0-9]+|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
        r"(?:[eE][+-]?[0-9]{1,4}(?![A-Za-z0-9]))?)"
        r"|\\(?P<part>begin|end)\s*\{(?P<environment>[a-z]*)\*?\}"
        r"|\\(?P<command>[A-Za-z]+|.)|(?P<word>[A-Za-z]+)|(?P<foreign>[\u0400-\u04ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]+)|(?P<sign><=|>=|==|\*\*|\S)",
        re.DOTALL,
    )
    for commas in (True, False)
}
_BODY = re.compile(r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_FORMULA = re.compile(r"[-+0-9.,/ ^()=*:]*|[A-Z](?:(?:,| and|, and) [A-Z])+")
_SIGNS = {"<=": "le", ">=": "ge", "==": "=", "**": "^"}

ORDERS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
"""Word for an order of magnitude -> its value."""
PLAIN_NAMES = frozenset(
    "pi infinity inf infty asin acos atan floor ceil ceiling binomial alpha beta gamma delta epsilon zeta theta iota "
    "kappa lambda sigma tau rho phi psi upsilon omega Gamma Delta Theta Lambda Sigma Upsilon Omega".split()
)
"""Words that count as names also without a backslash, like the functions."""

Kind = Literal["number", "name", "text", "sign", "begin", "end"]


class Token(NamedTuple):
    """A number, a name (of a command, a letter, a known word), words in `\\text{}`, another sign, or an environment."""

    kind: Kind
    text: str


def tokenize(answer: str, *, commas: bool = True) -> list[Token]:
    r"""The answer's tokens; `commas`: whether a comma may stand between the thousands of a number.

    >>> [token.text for token in tokenize(r"\left(10\,000, \dfrac{x}2\right)")]
    ['(', '10000', ',', 'frac', '{', 'x', '}', '2', ')']
    """
    return list(_tokens(_without_layout(answer), commas))


def _without_layout(answer: str) -> str:
    text = plain_characters(answer)
    if bold := _MARKDOWN.fullmatch(text):
        text = bold[2]
    return replace_all(text, _LAYOUT).rstrip(" .\n")


def _tokens(text: str, commas: bool) -> Iterator[Token]:
    position, depth = 0, 0
    while match := _TOKENS[commas and depth <= 0].search(text, position):  # (1,200) has two numbers
        position = match.end()
        command = match["command"]
        if command in TEXT and (body := _BODY.match(text, position)):
            position = body.end()
            yield from _text_tokens(body[1], command, commas)
        elif command is not None:
            depth += {"{": 1, "lbrace": 1, "}": -1, "rbrace": -1}.get(command, 0)
            yield from _named(command)
        elif match["word"]:
            yield from _word_tokens(match["word"])
        elif match["foreign"]:
            yield Token("text", match["foreign"])
        elif match["part"]:
            yield Token("begin" if match["part"] == "begin" else "end", match["environment"])
        elif match["sign"]:
            depth += (match["sign"] in "([") - (match["sign"] in ")]")
            yield Token("sign", _SIGNS.get(match["sign"], match["sign"]))
        else:
            yield Token("number", _plain_number(match))


def _plain_number(match: re.Match[str]) -> str:
    if match["thousands"]:
        return match["thousands"].replace(match["mark"] or ",", "")
    return match["number"].replace("{,}", ".")


def _named(name: str) -> list[Token]:
    meaning = SYNONYMS.get(name, name)
    return [Token("name" if meaning.isalpha() else "sign", meaning)] if meaning else []


def _word_tokens(word: str) -> list[Token]:
    if word.lower() in ("and", "or"):
        return [Token("sign", ",")]
    if word.lower() in ORDERS:
        return _order(word)
    return _named(word) if word in FUNCTIONS | PLAIN_NAMES else [Token("name", letter) for letter in word]


def _order(word: str) -> list[Token]:
    return [Token("sign", "*"), Token("number", str(ORDERS[word.lower()]))]


def _text_tokens(body: str, command: str, commas: bool) -> list[Token]:
    words = body.strip()
    first, _, unit = words.partition(" ")
    is_letter = len(words) == 1 and words.isalpha() and command in ("mathrm", "operatorname")
    if words.strip(" ,").lower() in ("and", "or"):
        return [Token("sign", ",")]
    if first.lower() in ORDERS:  # million, million dollars
        return _order(first) + ([Token("text", unit)] if unit else [])
    if _FORMULA.fullmatch(body) or words in FUNCTIONS | {"infinity"} or is_letter:
        return list(_tokens(words, commas))
    return [Token("text", words)]
