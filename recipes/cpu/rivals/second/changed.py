"""Two methods with today's defaults, of which the first family's runs have earlier ones (docs/studies/rivals.md).

echorl compare benchmarks/studies/products.jsonl.gz --add recipes/cpu/rivals/second/changed.py:SPOWithPrior
"""

from echorl.methods.spo import SPO
from echorl.methods.uft import UFT


class SPOWithPrior(SPO):
    """`spo`, whose tracked rate begins at a prior of one half."""


class UFTWithoutRatio(UFT):
    """`uft`, whose KL has no importance ratio."""
