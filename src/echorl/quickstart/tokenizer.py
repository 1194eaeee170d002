"""The quickstart policy's tokenizer: a token a character, except for a few pieces that always come whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<eos>", "<unk>")
WHOLE = ("State the final answer to the following arithmetic problem: ", "#### ", " + ", " - ", " =")
CHARACTERS = ("\n", *map(chr, range(32, 127)))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over `SPECIAL`, `WHOLE` and `CHARACTERS`; what is none of them becomes `<unk>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [*SPECIAL, *WHOLE, *CHARACTERS]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    pattern = "|".join([*(piece.replace("+", r"\+") for piece in WHOLE), r"\n", "."])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
