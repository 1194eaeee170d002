"""Reward functions of the tests, by the names in their settings."""


def all_right(completions, **columns):
    return [1.0] * len(completions)


def none_right(completions, **columns):
    return [0.0] * len(completions)
