"""Comparisons: several arms from one YAML, on equal rollout tokens, with paired differences."""
