"""The signal probe: what a rule's gradient holds at a checkpoint, before anything is trained."""

from echorl.lab.probe.plan import Plan
from echorl.lab.probe.run import probe
from echorl.lab.probe.verdict import verdict

__all__ = ["Plan", "probe", "verdict"]
