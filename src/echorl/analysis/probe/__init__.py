"""The signal probe: what a rule's gradient holds at a checkpoint, before anything is trained."""

from echorl.analysis.probe.plan import Plan
from echorl.analysis.probe.run import probe
from echorl.analysis.probe.verdict import verdict

__all__ = ["Plan", "probe", "verdict"]
