"""`StepDelimiters.from_tokenizer` on every kind of vocabulary that models have, built here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from echorl import StepDelimiters, segment_steps

TEXT = "Half of 48 is 24.\n\nSo 48 + 24 = 72.\n   \n#### 72\n"
STEPS = ["Half of 48 is 24.\n\n", "So 48 + 24 = 72.\n   \n", "#### 72\n"]
SPECIAL = dict(eos_token="<eos>", pad_token="<pad>")


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    like_qwen = pre_tokenizers.Split(Regex(r" ?[^\s\w]+[\r\n]*| ?\w+|\s+"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([like_qwen, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<eos>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def byte_fallback() -> PreTrainedTokenizerFast:
    """SentencePiece as in Llama 2 and Mistral: pieces with a leading ▁, and newline only as the byte `<0x0A>`."""
    pieces = [
        "<unk>",
        "<eos>",
        "<pad>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "▁▁▁",
        *"Halfois0123456789.+=#S",
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(dict.fromkeys(pieces))},
            merges=[],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **SPECIAL)


def characters() -> PreTrainedTokenizerFast:
    vocab = {piece: i for i, piece in enumerate(["<unk>", "<eos>", "<pad>", *sorted(set(TEXT))])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **SPECIAL)


def word_pieces() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(
        models.WordPiece({"[UNK]": 0, "half": 1, "##s": 2, "<eos>": 3, "<pad>": 4}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **SPECIAL)


@pytest.mark.parametrize("build", [byte_level, byte_fallback, characters])
def test_steps_are_the_lines(build) -> None:  # type: ignore[no-untyped-def]
    tokenizer = build()
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    ids = [*tokenizer(TEXT, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    (steps,) = segment_steps(torch.tensor([ids]), torch.ones(1, len(ids)), delimiters).tolist()
    assert max(steps) + 1 == len(STEPS)
    assert steps == sorted(steps)  # EOS belongs to the last one
    ends = [len(steps) - steps[::-1].index(step) for step in range(len(STEPS))]
    texts = [tokenizer.decode(ids[:end], skip_special_tokens=True) for end in ends]
    assert texts == ["".join(STEPS[: step + 1]) for step in range(len(STEPS))]


def test_byte_fallback_finds_the_newline_byte_and_the_blank_pieces() -> None:
    tokenizer = byte_fallback()
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    assert tokenizer.convert_ids_to_tokens(delimiters.newline.nonzero().flatten().tolist()) == ["<0x0A>"]
    blank = set(tokenizer.convert_ids_to_tokens(delimiters.blank.nonzero().flatten().tolist()))
    assert {"▁", "▁▁▁", "<0x0A>", "<0x20>", "<0x09>", "<eos>", "<pad>", "<unk>"} <= blank
    assert not blank & {"<0xE2>", "<0x41>", "H", "0", "."}  # a part of a character is text


def test_a_token_with_text_and_newline_ends_a_step_and_is_not_blank() -> None:
    tokenizer = byte_level()
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    both = (delimiters.newline & ~delimiters.blank).nonzero().flatten().tolist()
    texts = [tokenizer.decode([i]) for i in both]
    assert texts  # the vocabulary was trained on ".\n"
    assert all("\n" in text and text.strip() for text in texts)


def test_special_tokens_without_a_role_are_blank_and_other_added_ones_are_text() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|turn_end|>", special=True), AddedToken("<think>", special=False)])
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    turn_end, think = tokenizer.convert_tokens_to_ids(["<|turn_end|>", "<think>"])
    assert len(delimiters.blank) == len(tokenizer)
    assert delimiters.blank[turn_end]
    assert not delimiters.blank[think]


def test_a_vocabulary_without_newline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"TokenizersBackend|PreTrainedTokenizerFast") as error:
        StepDelimiters.from_tokenizer(word_pieces())
    assert "newline" in str(error.value)
    assert "from_ids" in str(error.value)


def test_a_processor_is_asked_for_its_tokenizer() -> None:
    tokenizer = byte_level()
    expected = StepDelimiters.from_tokenizer(tokenizer)
    found = StepDelimiters.from_tokenizer(SimpleNamespace(tokenizer=tokenizer, image_processor=object()))
    assert torch.equal(found.newline, expected.newline)
    assert torch.equal(found.blank, expected.blank)


def test_ids_with_holes_in_the_vocabulary() -> None:
    tokenizer = characters()
    vocab = tokenizer.get_vocab() | {"far": 100}
    moved = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    moved.decoder = decoders.Fuse()
    delimiters = StepDelimiters.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=moved, **SPECIAL))
    assert len(delimiters.newline) == 101
    assert not delimiters.blank[100]


class MistralLike:
    """As transformers' MistralCommonBackend: mistral-common's object in `tokenizer`, no table of added tokens."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.tokenizer, self.all_special_ids = texts, object(), [0]

    def __len__(self) -> int:
        return len(self.texts)

    def get_vocab(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.texts)}

    def batch_decode(self, sequences: list[list[int]], **_: object) -> list[str]:
        return ["".join(self.texts[i] for i in ids) for ids in sequences]

    def added_tokens_decoder(self) -> None:
        raise NotImplementedError


def test_mistral_commons_backend_decodes_itself() -> None:
    delimiters = StepDelimiters.from_tokenizer(MistralLike(["<s>", "a", ".\n", "\n\n", " ", "\ufffd"]))
    assert delimiters.newline.tolist() == [False, False, True, True, False, False]
    assert delimiters.blank.tolist() == [True, False, False, True, True, False]


def test_its_sentencepiece_files_are_refused() -> None:
    with pytest.raises(ValueError, match="MistralLike has no token that contains a newline"):
        StepDelimiters.from_tokenizer(MistralLike(["<s>", "a", "<0x0A>", " "]))


@pytest.mark.parametrize("name", ["tekken_240911.json", "mistral_instruct_tokenizer_240323.model.v3"])
def test_mistral_commons_own_files(name: str) -> None:
    mistral_common = pytest.importorskip("mistral_common")
    from transformers import MistralCommonBackend

    backend = MistralCommonBackend(str(Path(mistral_common.__file__).parent / "data" / name))
    if not name.startswith("tekken"):
        with pytest.raises(ValueError, match="newline"):
            StepDelimiters.from_tokenizer(backend)
        return
    delimiters = StepDelimiters.from_tokenizer(backend)
    assert int(delimiters.newline.sum()) == 1069
    ids = backend(TEXT, add_special_tokens=False)["input_ids"]
    assert int(segment_steps(torch.tensor([ids]), torch.ones(1, len(ids)), delimiters).max()) + 1 == len(STEPS)
