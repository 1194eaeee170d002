"""The batches and gradients of a training, and the same written out by hand."""

from __future__ import annotations

import torch

from tests.trl.tiny import Gradients, norm

IMAGES = ("pixel_values", "image_grid_thw", "mm_token_type_ids")


def train_and_keep(trainer):
    """Train; the generation batches in their order before the shuffle, and the gradients of the optimiser steps."""
    gradients, kept = Gradients(), keep_batches(trainer)
    trainer.add_callback(gradients)
    trainer.train()
    return kept, gradients.steps


def keep_batches(trainer):
    """Return a list to which the trainer will add its generation batches, in their order before the shuffle."""
    original, kept = trainer._generate_and_score_completions, []

    def wrapped(inputs):
        out = original(inputs)
        kept.append({k: v.clone() if torch.is_tensor(v) else v for k, v in out.items()})
        return out

    trainer._generate_and_score_completions = wrapped
    return kept


def logps_and_entropies(model, batch, temperature=1.0):
    """One plain forward over prompt, completion and the batch's images, if any, full softmax."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    inputs = {"input_ids": ids, "attention_mask": mask, **{key: batch[key] for key in IMAGES if key in batch}}
    logp = (model(**inputs).logits[:, -width - 1 : -1] / temperature).log_softmax(-1)
    chosen = logp.gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)
    return chosen, -(logp.exp() * logp).sum(-1)


def gradient_of(model, loss):
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def closest(a: dict, b: dict) -> float:
    """Largest difference between two gradients, relative to the size of the first."""
    assert a.keys() == b.keys()
    return norm({k: a[k] - b[k] for k in a}) / norm(a)
