"""EchoRL in ms-swift: a plug-in file for `swift rlhf --external_plugins examples/swift_plugin.py`, as in swift.sh.

It registers a reward function and the prompt format of the small policy that comes with echorl, and switches EchoRL on.
In a plug-in file of your own the import and the last line are enough.
"""

import re

from swift.rewards import ORM, orms
from swift.template import TemplateMeta, register_template

from echorl.swift import use_echo


class RightSum(ORM):
    """Reward 1.0 for a completion whose last number is the solution, 0.0 for any other."""

    def __call__(self, completions, solution, **columns):
        numbers = [re.findall(r"-?\d+", completion) for completion in completions]
        return [float(found[-1:] == [expected]) for found, expected in zip(numbers, solution, strict=True)]


orms["right_sum"] = RightSum
register_template(
    TemplateMeta("plain_lines", prefix=[], prompt=["{{QUERY}}\n"], chat_sep=[], suffix=["<eos>"]), exist_ok=True
)
use_echo("right_sum", coef=0.001)  # the verifier, and lambda, the weight of the EchoClips in the loss
