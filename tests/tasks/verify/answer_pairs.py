r"""Pairs of a reference answer and one in a form that models often write, by kind; `test_readings` grades them."""

from __future__ import annotations

RIGHT = {
    "rounded values": [
        ("\\sqrt{2}", "\\sqrt{2}\\approx 1.414"),
        ("x=\\sqrt2", "x=\\sqrt2\\approx1.414"),
        ("\\sqrt{2}", "x = \\sqrt{2} \\approx 1.41"),
        ("1.414", "\\sqrt2\\approx1.414"),
        ("\\frac{22}{7}", "\\frac{22}{7} \\approx 3.14"),
        ("2\\sqrt{5}", "2\\sqrt5 \\approx 4.47 \\text{ units}"),
        ("43", "\\frac{128}{3} \\approx 43"),
        ("6\\times10^{23}", "6.02\\times10^{23}\\approx 6\\times10^{23}"),
    ],
    "ratios": [
        ("\\frac34", "3:4"),
        ("3:4", "\\frac{3}{4}"),
        ("6:8:10", "3:4:5"),
        ("a:b=3:4", "3:4"),
        ("3:30", "3\\!:\\!30"),
    ],
    "percentages": [
        ("33\\frac13\\%", "33.\\overline{3}\\%"),
        ("66\\frac{2}{3}\\%", "66 2/3\\%"),
        ("\\frac13\\%", "1/3\\%"),
        ("-5\\%", "-0.05"),
        ("-5", "-5\\%"),
    ],
    "units": [
        ("9.8", "9.8 \\ \\mathrm{m/s^2}"),
        ("9.8", "9.8\\ \\mathrm{m\\,s^{-2}}"),
        ("\\frac12", "\\frac12\\,\\mathrm{m}\\cdot\\mathrm{s}^{-1}"),
        ("15", "15\\text{ inches squared}"),
        ("5", "5元"),
        ("12", "12 厘米"),
        *[("10", text) for text in ("10 apples", "10 \\; bags of rice", "10°C", "10\\,\\Omega", "10 \\mu m")],
        ("1500000", "1.5 \\text{ million dollars}"),
    ],
    "real numbers": [
        ("(-\\infty,0)\\cup(0,\\infty)", "\\mathbb{R}\\setminus\\{0\\}"),
        ("\\mathbb{R}\\setminus\\{0\\}", "\\mathbb R\\backslash\\{0\\}"),
        ("\\mathbb{R}\\setminus\\{1,2\\}", "(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)"),
        ("\\mathbb{R}", "(-\\infty,\\infty)"),
        ("x\\in\\mathbb{R}", "(-\\infty,+\\infty)"),
        ("\\mathbb{R}^3", "\\mathbb R^3"),
    ],
    "logarithms": [
        ("2", "\\log 100"),
        ("\\log 2", "\\log_{10}2"),
        ("\\ln 2", "\\log 2"),
        ("\\log_2 3", "\\frac{\\log 3}{\\log 2}"),
        ("1", "\\log e"),
    ],
    "functions": [
        ("12", "\\operatorname{lcm}(4,6)"),
        ("2", "\\gcd(4,6)"),
        ("4", "\\max(2,4)"),
        ("\\gcd(a,b)", "\\gcd(b,a)"),
        ("\\max\\{a,b\\}", "\\max(b,a)"),
        ("\\frac12", "\\sin 30^\\circ"),
        ("\\tan 15^\\circ", "2-\\sqrt3"),
        ("-2", "\\sqrt[3]{-8}"),
        ("\\|v\\|", "\\lVert v\\rVert"),
    ],
    "arithmetic": [("512", "2^3^2"), ("120", "5!"), ("\\frac{10!}{3!7!}", "120")],
    "plain TeX": [
        ("\\frac12", "{1 \\over 2}"),
        ("2\\frac12", "2{1\\over 2}"),
        ("{10 \\choose 3}", "120"),
        ("\\frac12", "\\nicefrac{1}{2}"),
        ("5", "\\textcolor{red}{5}"),
        ("5", "\\large 5"),
    ],
    "matrices": [
        (
            "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
            "\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]",
        ),
        ("\\begin{pmatrix}1/2&0\\\\0&1\\end{pmatrix}", "\\frac12\\begin{pmatrix}1&0\\\\0&2\\end{pmatrix}"),
    ],
    "named values": [
        ("x=2,y=3", "(2,3)"),
        ("x=2,y=3", "y=3, x=2"),
        ("x=2,x=3", "3,2"),
        ("x_{1}=1,x_{2}=2", "2,1"),
        ("Carla", "\\text{carla}"),
        ("Mgh", "ghM"),
        ("\\overrightarrow{AB}", "\\vec{AB}"),
        ("0<x<1", "1>x>0"),
        ("\\text{A, C}", "\\text{A and C}"),
        ("\\text{A, B, C}", "\\text{A, B, and C}"),
        ("\\infty", "\\text{infinity}"),
    ],
    "dots": [("\\{1,2,\\ldots,10\\}", "\\{1, 2, \\dots, 10\\}"), ("1+2+\\cdots+n", "1+2+\\ldots+n")],
    "no reading": [
        ("x\\equiv 3 \\pmod 7", "x \\equiv 3 \\pmod{7}"),
        ("\\begin{cases}x&x>0\\\\-x&x\\le0\\end{cases}", "\\begin{cases} x & x>0 \\\\ -x & x \\le 0 \\end{cases}"),
        ("\\sum_{k=1}^{n} k^2", "\\sum_{k=1}^n k^2"),
    ],
}
WRONG = {
    "rounded values": [
        ("42", "43\\approx42"),
        ("42", "42\\approx43"),
        ("42", "43=42\\approx42"),
        ("1.414", "\\sqrt3\\approx1.414"),
        ("\\sqrt2", "\\sqrt3\\approx 1.732"),
        ("\\sqrt2", "\\sqrt2\\approx 1.732"),
        ("\\sqrt2", "\\sqrt3\\approx\\sqrt2"),
    ],
    "ratios": [
        ("3:4", "4:3"), ("3:4:5", "3:5:4"), ("3:4:5", "3:4"), ("3:4", "3:4:5"), ("3:30", "1:10"), ("12:30", "0.4"),
        ("3:30", "3:03"), ("1:2", "12"),
    ],
    "percentages": [("33\\frac13\\%", "11\\%"), ("\\frac13\\%", "33.3"), ("-5\\%", "5\\%")],
    "units": [
        ("5", text)
        for text in (
            "5\\text{ squared}", "5\\text{ thirds}", "5\\text{ plus one}", "5\\text{ minus one}", "5\\text{ factorial}",
            "5\\text{?}", "5\\text{ below zero}", "5\\text{ times six}", "5\\text{ in base six}", "5\\text{以上}",
            "5万", "5或6", "不是5", "5 squared", "5 log xy", "5abc", "5 thousand people", "5\\text{ k}",
            "5\\text{m^5}", "5 \\mathrm{cm^2 3}",
        )
    ],
    "real numbers": [
        ("\\mathbb{R}", "\\mathbb{Q}"),
        ("\\mathbb{R}", "R"),
        ("\\mathbb{R}\\setminus\\{0\\}", "\\mathbb{R}\\setminus\\{0,1\\}"),
        ("\\mathbb{R}\\setminus\\{0\\}", "(-\\infty,1)\\cup(1,\\infty)"),
        ("\\mathbb{R}^3", "\\mathbb{R}^2"),
        ("\\mathbb{R}^3", "\\mathbb{R}"),
    ],
    "functions": [
        ("12", "\\operatorname{lcm}(4,5)"), ("4", "\\min(2,4)"), ("\\gcd(a,b)", "\\gcd(a,c)"),
        ("\\operatorname{lcm}(a,b)", "\\gcd(a,b)"), ("\\sin 30^\\circ", "\\sin 30"), ("-2", "\\sqrt[3]{8}"),
    ],
    "logarithms": [("\\ln 2", "\\log_{10}2"), ("2", "\\ln 100"), ("2", "\\log 10")],
    "arithmetic": [("64", "2^3^2"), ("720", "3!!"), ("7.5", "3 5/2"), ("\\frac52", "3 5/2")],
    "plain TeX": [("\\frac12", "2\\over1"), ("{n\\choose k}", "{k\\choose n}")],
    "matrices": [
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "2\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{array}{cc}1&3\\\\2&4\\end{array}"),
    ],
    "named values": [
        ("x=2,y=3", "(3,2)"), ("x=2,y=3", "3,2"), ("(2,3)", "\\{3,2\\}"), ("(2,3)", "\\{2,3\\}"), ("1>x>0", "0>x>1"),
        ("\\text{A, C}", "A, B"), ("Carla", "Clara"),
        ("\\text{A, C}", "A"),
    ],
    "dots": [("\\{1,2,\\ldots,10\\}", "\\{1,2,10\\}"), ("\\{1,2,\\ldots,10\\}", "\\{1,2,\\ldots,11\\}")],
    "no reading": [
        ("x\\equiv 3 \\pmod 7", "x \\equiv 7 \\pmod 3"),
        ("12\\text{ feet }3\\text{ inches}", "12\\text{ inches }3\\text{ feet}"),
    ],
}  # fmt: skip
