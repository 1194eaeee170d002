"""Steps of a rollout: which tokens end one, and the step that each token belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echorl.core.refusals import check_tensors

NEWLINE, BLANK = 1, 2  # bits
BLOCK_ELEMENTS = 1 << 17  # numbers handled at once on a CPU: 1 MB of int64 stays in the second-level cache


@dataclass(frozen=True, eq=False)
class StepDelimiters:
    r"""Tables of a vocabulary for `segment_steps`.

    Attributes:
        newline: bool [V], true where the token's text contains `"\n"` (so `".\n"` counts).
        blank: bool [V], true where the text is empty or white space, or the token is special (EOS, padding).
    """

    newline: Tensor
    blank: Tensor

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> StepDelimiters:
        r"""Return the delimiters of the whole vocabulary of a Hugging Face tokenizer (or of a processor with one).

        A fixed id list such as the authors' `[198, 271]` finds 10.4 % of the boundaries in real Qwen output, since
        most steps end in tokens like `".\n"`. Works for byte-level, SentencePiece (`<0x0A>`) and character
        vocabularies, and transformers' `MistralCommonBackend` with a tekken file (a SentencePiece file of Mistral's
        writes newlines as `<0x0A>` there, so that it is refused).

        Raises:
            ValueError: no token contains a newline, so that no rollout could be cut into steps.
        """
        if not hasattr(tokenizer, "get_vocab"):  # a processor; MistralCommonBackend has a `tokenizer` beside its own
            tokenizer = tokenizer.tokenizer
        size = max([len(tokenizer), *(i + 1 for i in tokenizer.get_vocab().values())])
        texts = tokenizer.batch_decode([[i] for i in range(size)], clean_up_tokenization_spaces=False)
        special = _special_ids(tokenizer)
        newline = torch.tensor(["\n" in text for text in texts])
        if not bool(newline.any()):
            raise ValueError(
                f"{type(tokenizer).__name__} has no token that contains a newline, so rollouts cannot be cut into "
                "steps: use a tokenizer that keeps newlines, or name the ids that end a step with "
                "StepDelimiters.from_ids."
            )
        blank = torch.tensor([not text.strip() or i in special for i, text in enumerate(texts)])
        return cls(newline=newline, blank=blank)

    @classmethod
    def from_ids(cls, ids: Iterable[int], vocab_size: int, *, blank_ids: Iterable[int] | None = None) -> StepDelimiters:
        """Return delimiters by which only `ids` end a step, as in the authors' `[198, 271]`.

        The blank tokens are `blank_ids`, or `ids` if not given.

        Raises:
            ValueError: no id, or an id outside `[0, vocab_size)`.
        """
        ids = list(ids)
        blank_ids = ids if blank_ids is None else list(blank_ids)
        wrong = [i for i in [*ids, *blank_ids] if not 0 <= i < vocab_size]
        if not ids or wrong:
            raise ValueError(f"ids={ids} with blank_ids={blank_ids}: give at least one id, all below {vocab_size}.")
        return cls(newline=_one_hot(ids, vocab_size), blank=_one_hot(blank_ids, vocab_size))

    def is_blank(self, token_ids: Tensor) -> Tensor:
        """Return bool, of the shape of `token_ids`: the token is blank. Ids outside the vocabulary are not."""
        return _look_up(_kinds(self).to(token_ids.device), token_ids) >= BLANK

    def to(self, device: torch.device | str) -> StepDelimiters:
        """Return the same tables on `device`."""
        return StepDelimiters(newline=self.newline.to(device), blank=self.blank.to(device))


def segment_steps(token_ids: Tensor, mask: Tensor, delimiters: StepDelimiters) -> Tensor:
    r"""Number the steps of each rollout.

    A step begins at the first non-blank token after a newline, so a run of newlines, trailing blanks and EOS belong to
    the step before them, leading blanks to the first step, and no step is blank. A gap in the mask (tool output) ends a
    step as a newline does.

    Args:
        token_ids: int [B, T]. Ids outside the delimiters' vocabulary count as text.
        mask: [B, T], true on the policy's own tokens.
        delimiters: of the tokenizer that made `token_ids`.

    Returns:
        int64 [B, T]: 0, 1, ... within each rollout; -1 outside the mask and in rollouts that are blank throughout.

    Raises:
        ValueError: an argument is no tensor, or the shapes are not the same, or not [B, T].

    >>> delimiters = StepDelimiters.from_ids([9], vocab_size=10)
    >>> segment_steps(torch.tensor([[1, 2, 9, 9, 3, 9]]), torch.ones(1, 6), delimiters)
    tensor([[0, 0, 0, 0, 1, 1]])
    """
    check_tensors(token_ids=token_ids, mask=mask)
    if token_ids.dim() != 2 or mask.shape != token_ids.shape:
        raise ValueError(f"token_ids {tuple(token_ids.shape)} and mask {tuple(mask.shape)}: give [B, T] for both.")
    kinds = _kinds(delimiters).to(token_ids.device)
    step_ids = torch.empty(token_ids.shape, dtype=torch.int64, device=token_ids.device)
    for rows in row_blocks(token_ids.shape[0], token_ids.shape[1], token_ids.device):
        step_ids[rows] = _segment_rows(kinds, token_ids[rows], mask[rows].bool())
    return step_ids


def _kinds(delimiters: StepDelimiters) -> Tensor:
    """uint8 [V + 1]: both tables in one, so that each token is looked up once."""
    kinds = delimiters.newline * NEWLINE + delimiters.blank * BLANK
    # One more entry: what lies outside the vocabulary (padding of -100, rows added to the model) is text.
    return torch.nn.functional.pad(kinds.to(torch.uint8), (0, 1))


def _look_up(kinds: Tensor, token_ids: Tensor) -> Tensor:
    return kinds.take(token_ids.long().clamp(-1, kinds.numel() - 1))


def _segment_rows(kinds: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    kind = _look_up(kinds, token_ids)
    text = mask & (kind < BLANK)
    cuts = _cuts_before((kind & NEWLINE).bool(), mask)
    begins = text & (cuts > _last_cuts(cuts, text))
    steps = (begins.cumsum(1) - 1).clamp_(min=0)
    return steps.masked_fill_(~(mask & text.any(1, keepdim=True)), -1)


def row_blocks(num_rows: int, width: int, device: torch.device) -> Iterator[slice]:
    """Return slices over rows of `width` numbers: one on an accelerator, on a CPU as many as its cache asks for.

    The functions on steps pass over their numbers a dozen times; from main memory that takes several times longer.
    """
    size = max(1, BLOCK_ELEMENTS // max(1, width)) if device.type == "cpu" else max(1, num_rows)
    return (slice(start, start + size) for start in range(0, num_rows, size))


def _special_ids(tokenizer: Any) -> set[int]:
    # `all_special_ids` lacks special tokens without a role, such as the second end token of many chat models.
    added = getattr(tokenizer, "added_tokens_decoder", {})
    listed = added.items() if isinstance(added, Mapping) else ()  # MistralCommonBackend has a method that only raises
    return {*tokenizer.all_special_ids, *(i for i, token in listed if token.special)}


def _cuts_before(newline: Tensor, mask: Tensor) -> Tensor:
    """int32 [B, T]: newlines before each position (in a gap they add nothing) or gaps in the mask ended by then."""
    cut = torch.zeros_like(mask)
    cut[:, 1:] = newline[:, :-1] | (mask[:, 1:] & ~mask[:, :-1])
    return cut.cumsum(1, dtype=torch.int32)


def _last_cuts(cuts: Tensor, text: Tensor) -> Tensor:
    """int32 [B, T]: the cut count at the last text token before each position, -1 where there is none."""
    last = torch.full_like(cuts, -1)
    last[:, 1:] = cuts.masked_fill(~text, -1)[:, :-1].cummax(1).values
    return last


def _one_hot(ids: Iterable[int], size: int) -> Tensor:
    table = torch.zeros(size, dtype=torch.bool)
    table[list(ids)] = True
    return table
