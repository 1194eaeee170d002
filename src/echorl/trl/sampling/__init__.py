"""Sampling that several methods share: rounds, rows of a batch, demonstrations, prefixes, clips beside the batch."""
