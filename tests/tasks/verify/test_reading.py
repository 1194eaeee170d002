from __future__ import annotations

import pytest

from echorl.tasks.verify.reading import plain_characters

PLAIN_CHARACTERS = [
    ("plain \\text{ASCII}, $x^2$", "plain \\text{ASCII}, $x^2$"),
    ("４２．５％", "42.5%"),
    ("٤٢ ४२ 𝟒𝟐", "42 42 42"),
    ("（Ｃ）：", "(C):"),
    ("【A】、B。", "[A],B."),
    ("Answer∶ B", "Answer: B"),
    ("−5 –5 —5 ‑5 －5", "-5 -5 -5 -5 -5"),
    ("4\u200b2\ufeff\u2060 \u202e7\u202c", "42 7"),
    ("10\u2009000 10\u202f000 10\u00a0000 10\u3000000", "10 000 10 000 10 000 10 000"),
    ("½", "\\frac{1}{2}"),
    ("3½x", "3\\frac{1}{2}x"),
    ("⅓ ⅞ ⅒", "\\frac{1}{3} \\frac{7}{8} \\frac{1}{10}"),
    ("1⁄2 1∕2", "1/2 1/2"),
    ("x²y⁻¹⁰", "x^{2}y^{-10}"),
    ("a₁₂ + H₂O", "a_{12} + H_{2}O"),
    ("√2", "\\sqrt{2}"),
    ("2√３x", "2\\sqrt{3}x"),
    ("√(x+1)", "\\sqrt{x+1}"),
    ("√(2(x+1))", "\\sqrt{2(x+1)}"),
    ("√ ½", "\\sqrt{\\frac{1}{2}}"),
    ("√π", "\\sqrt{\\pi}"),
    ("∛8 ∜x √", "\\sqrt[3]{8} \\sqrt[4]{x} \\sqrt "),
    ("(−∞, 2]", "(-\\infty , 2]"),
    ("2×3÷4·5", "2\\times 3\\div 4\\cdot 5"),
    ("x≤1≥2≠3≈4", "x\\le 1\\ge 2\\ne 3\\approx 4"),
    ("x =\u0338 3", "x \\ne  3"),
    ("5±1", "5\\pm 1"),
    ("2πr Δ μ µ Ω Ω 𝜋", "2\\pi r \\Delta  \\mu  \\mu  \\Omega  \\Omega  \\pi "),
    ("ΑΒ", "AB"),  # capital Greek letters that look like Latin ones, as in LaTeX
    ("90° 90º 20℃", "90^{\\circ} 90^{\\circ} 20^{\\circ}C"),
    ("0.3\u0305 0.1\u03052\u0305", "0.\\overline{3} 0.\\overline{12}"),
    ("𝐱 + 𝑦 ∈ ℝ", "x + y \\in  \\mathbb{R}"),
    ("Ⅱ Ⓒ 🅰\ufe0f ⒞ 3\ufe0f\u20e3", "II C A (c) 3"),
    ("f′(x), “C”, it’s", "f'(x), \"C\", it's"),
    ("｛1，2｝", "\\{1,2\\}"),
    ("café 答案", "café 答案"),
    ("\ufdfa", "\ufdfa"),  # a sign for a phrase of eighteen characters
    ("\ud800\x00", "\ud800\x00"),
]


def test_plain_characters() -> None:
    assert [(text, plain) for text, plain in PLAIN_CHARACTERS if plain_characters(text) != plain] == []


@pytest.mark.parametrize("part", ["√(", "√{", "√(()", "√()", "²", "3\u0305", "½", "\u200b", "ﷺ", "√ √\\a"])
def test_long_texts_take_linear_time(part: str) -> None:
    assert len(plain_characters(part * (200_000 // len(part)))) < 12 * 200_000
