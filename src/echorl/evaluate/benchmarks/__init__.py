"""Benchmarks: `BENCHMARKS` is the registry, `load_benchmark(name)` also makes one of any task.

>>> load_benchmark("math500").grader
'math'
"""

from echorl.evaluate.benchmarks.base import Benchmark, DataBenchmark, Item
from echorl.evaluate.benchmarks.load import load_benchmark
from echorl.evaluate.benchmarks.of_tasks import TaskBenchmark, TaskGrader
from echorl.evaluate.benchmarks.registry import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "DataBenchmark", "Item", "TaskBenchmark", "TaskGrader", "load_benchmark"]
