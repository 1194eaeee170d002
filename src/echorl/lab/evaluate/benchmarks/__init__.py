"""Benchmarks: `BENCHMARKS` is the registry; `load_benchmark(name)` also makes a benchmark from any task.

>>> load_benchmark("math500").grader
'math'
"""

from echorl.lab.evaluate.benchmarks.base import Benchmark, DataBenchmark, Item
from echorl.lab.evaluate.benchmarks.load import load_benchmark
from echorl.lab.evaluate.benchmarks.of_tasks import TaskBenchmark, TaskGrader
from echorl.lab.evaluate.benchmarks.registry import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "DataBenchmark", "Item", "TaskBenchmark", "TaskGrader", "load_benchmark"]
