"""Reward functions of the tests, by the names in their settings."""


def all_right(completions, **columns):
    return [1.0] * len(completions)


def none_right(completions, **columns):
    return [0.0] * len(completions)


def every_other_right(completions, **columns):
    return [float(i % 2) for i in range(len(completions))]
