r"""Reading of completions: the place of the answer, and its characters in LaTeX. All in time linear in the length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox)(?:\s*([-+]?[0-9]+(?:[.,/][0-9]+)*)|\s+([A-Za-z](?![A-Za-z]))|\s*(\\[A-Za-z]+(?:\{[^{}]*\})*))"
)
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿˣʸ", "0123456789+-=()inxy")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑᵢⱼₖₗₘₙₒₚₛₜₓ", "0123456789+-=()aeijklmnopstx")
_COMMANDS = """
α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho ς sigma
σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega ϵ epsilon ϑ theta ϖ pi ϱ rho ϕ phi Γ Gamma Δ Delta Θ Theta Λ Lambda
Ξ Xi Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega ∞ infty × times ÷ div · cdot ⋅ cdot ∙ cdot ± pm ∓ mp ≤ le ≦ le ⩽ le ≥ ge ≧ ge
⩾ ge ≠ ne ≈ approx ≃ simeq ≅ cong ≡ equiv ∼ sim ∝ propto ∅ emptyset ∈ in ∉ notin ∪ cup ∩ cap ∖ setminus ⊂ subset
⊆ subseteq ⊃ supset ⊇ supseteq ∧ land ∨ lor ¬ neg ∀ forall ∃ exists → to ⟶ to ⇒ implies ↔ leftrightarrow ⇔ iff ∑ sum
∏ prod ∫ int ∂ partial ∇ nabla ∠ angle ∥ parallel ⊥ perp ∘ circ △ triangle ℓ ell ⟨ langle ⟩ rangle ⌊ lfloor ⌋ rfloor
⌈ lceil ⌉ rceil
"""
_SIGN_OR_COMMAND = _COMMANDS.split()
_SIGNS = {
    **{sign: f"\\{command} " for sign, command in zip(_SIGN_OR_COMMAND[::2], _SIGN_OR_COMMAND[1::2], strict=True)},
    **dict.fromkeys("−‐‑‒–—―⁃˗﹣➖", "-"),
    **dict.fromkeys("°º˚", "^{\\circ}"),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("“”„‟«»「」『』", '"'),
    **dict.fromkeys("∶꞉ː։׃", ":"),
    **dict(zip("。、【】〔〕∗″٪٫٬", (".", ",", "[", "]", "(", ")", "*", "''", "%", ".", ","), strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True)),
    **{letter: f"\\mathbb{{{plain}}}" for letter, plain in zip("ℝℤℕℚℂ", "RZNQC", strict=True)},
    **{chr(first + i): chr(ord("A") + i) for first in (0x1F150, 0x1F170) for i in range(26)},  # letters in black signs
    "｛": "\\{",
    "｝": "\\}",
    "\u20e3": "",  # the frame of a keycap
    "\u2028": "\n",
    "\u2029": "\n",
}
_SCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿˣʸ]+|[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑᵢⱼₖₗₘₙₒₚₛₜₓ]+")
_OVERLINED = re.compile("(?:[0-9A-Za-z][\u0304\u0305])+")
_NOT_EQUAL = re.compile("=\u0338")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_ROOT = re.compile(
    r"([√∛∜]) ?(?:([0-9]+(?:\.[0-9]+)?|[A-Za-z]|\\[A-Za-z]+ |\\frac\{[0-9]+\}\{[0-9]+\})"
    r"|\{([^{}]*)\}|\(((?:[^()]|\([^()]*\))*)\))?"
)


Replacements = Sequence[tuple[re.Pattern[str], str]]
"""Patterns and the texts in their place, in the order in which they are replaced."""


def replace_all(text: str, replacements: Replacements) -> str:
    """The text after all replacements."""
    for pattern, replacement in replacements:
        text = pattern.sub(replacement, text)
    return text


def after_thinking(text: str) -> str:
    """The text after the last `</think>`; "" if thinking began and never ended; else the whole text.

    >>> after_thinking("<think>1</think> 2"), after_thinking("<think> 1"), after_thinking("1")
    (' 2', '', '1')
    """
    _, end_tag, answer = text.rpartition("</think>")
    if end_tag:
        return answer
    return "" if "<think>" in text else text


def last_box(text: str) -> str | None:
    r"""The stripped content of the last `\boxed{...}`; None if there is none.

    A box that never closes is ignored. The inner one of two nested boxes counts. A box without braces holds one number,
    letter or command.

    >>> last_box(r"\boxed{1} so \boxed{\frac{1}{2}}."), last_box(r"\boxed{1} or \boxed{2"), last_box("1")
    ('\\frac{1}{2}', '1', None)
    >>> last_box(r"\boxed{1}, no: $\boxed 42$.")
    '42'
    """
    starts = [match.end() for match in _BOX.finditer(text)]
    ends = _closing_braces(text, starts[0] - 1) if starts else {}
    start = next((start for start in reversed(starts) if start in ends), None)
    bare = next(reversed(list(_BARE_BOX.finditer(text))), None)
    if bare is not None and (start is None or bare.start() > start):
        return next(group for group in bare.groups() if group)
    return None if start is None else text[start : ends[start]].strip()


def last_tag(text: str) -> str | None:
    """The stripped text between the last `<answer>` and its `</answer>`; None if there is no such pair.

    >>> last_tag("<answer>1</answer> or <answer> 2 </answer>"), last_tag("<answer>1"), last_tag("1")
    ('2', None, None)
    """
    _, opening_tag, tail = text.rpartition("<answer>")
    answer, closing_tag, _ = tail.partition("</answer>")
    return answer.strip() if opening_tag and closing_tag else None


def final_answer(text: str) -> str:
    """The text after the last `####`; else in the last `<answer>...</answer>`; else the last non-empty line.

    The result is "" for an empty text, and where nothing follows the `####`.

    >>> final_answer("4+3=7\\n#### 7"), final_answer("so <answer>7</answer>."), final_answer("4+3=7\\n7\\n")
    ('7', '7', '7')
    """
    _, mark, answer = text.rpartition("####")
    if mark:
        return answer.strip()
    tagged = last_tag(text)
    return text.rstrip().rpartition("\n")[2].strip() if tagged is None else tagged


def depth(text: str) -> int:
    """The largest number of brackets that are open at one place; brackets that never close count.

    >>> depth("f(x[1], {2})"), depth("((("), depth("1")
    (2, 3, 0)
    """
    deepest = level = 0
    for character in text:
        if character in "([{":
            level += 1
            deepest = max(deepest, level)
        elif character in ")]}":
            level = max(0, level - 1)
    return deepest


def _closing_braces(text: str, begin: int) -> dict[int, int]:
    """Index after an opening brace -> index of its closing brace; escaped braces are text."""
    pairs: dict[int, int] = {}
    starts: list[int] = []
    for brace in _BRACES.finditer(text, begin):
        if brace[0] == "{":
            starts.append(brace.end())
        elif brace[0] == "}" and starts:
            pairs[starts.pop()] = brace.start()
    return pairs


def plain_characters(text: str) -> str:
    r"""The text in ASCII and LaTeX, as far as its signs have an equivalent there; letters of other scripts stay.

    Digits of all scripts, full-width and styled letters, dashes, quotes and spaces become plain ones. Invisible
    characters are removed. Vulgar fractions, superscripts, subscripts, roots, Greek letters and signs of mathematics
    become LaTeX, commands with a space behind them.

    >>> print(plain_characters("−３½ ≤ x²√２"), plain_characters("２πr = 10\u202f000"))
    -3\frac{1}{2} \le  x^{2}\sqrt{2} 2\pi r = 10 000
    """
    if text.isascii():
        return text
    text = _OVERLINED.sub(lambda match: f"\\overline{{{match[0][::2]}}}", _NOT_EQUAL.sub("\\\\ne ", text))
    text = _SCRIPTS.sub(_script, text)
    return _ROOT.sub(_root, _NOT_ASCII.sub(lambda match: _plain_character(match[0]), text))


def _script(match: re.Match[str]) -> str:
    raised = match[0].translate(_SUPERSCRIPTS)
    return f"^{{{raised}}}" if raised != match[0] else f"_{{{match[0].translate(_SUBSCRIPTS)}}}"


def _root(match: re.Match[str]) -> str:
    index = {"√": "", "∛": "[3]", "∜": "[4]"}[match[1]]
    under = next((group for group in match.groups()[1:] if group is not None), None)
    return f"\\sqrt{index} " if under is None else f"\\sqrt{index}{{{under.strip()}}}"


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    """The character's equivalent in ASCII or LaTeX; the character itself where it has none."""
    if character in _SIGNS:
        return _SIGNS[character]
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return ""
    if category in ("Nd", "Zs"):
        return str(unicodedata.decimal(character)) if category == "Nd" else " "
    if unicodedata.decomposition(character).startswith("<fraction>"):
        over, _, under = unicodedata.normalize("NFKC", character).partition("⁄")
        return f"\\frac{{{over}}}{{{under}}}" if under else f"{over}/"
    simple = unicodedata.normalize("NFKC", character)
    # A few signs stand for a whole phrase: the text must not grow by a factor.
    return character if simple == character or len(simple) > 4 else "".join(map(_ascii_or_sign, simple))


def _ascii_or_sign(character: str) -> str:
    return character if character.isascii() else _SIGNS.get(character, character)
