"""Evaluation: completions are sampled and graded, and numbers get intervals."""
