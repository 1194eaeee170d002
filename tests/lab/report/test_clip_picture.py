"""The picture of EchoClips: every character is there, and the clip is what is framed."""

from __future__ import annotations

from echorl.lab.report.clip_picture import COLUMNS, lay_out, write_clips_png
from echorl.lab.report.gallery import make_exhibit


def row(text="12+3=15\n#### 15", clip_step=0, **changes):
    tokens = [*text, "<eos>"]
    steps = [text[:i].count("\n") for i in range(len(text))] + [text.count("\n")]
    made = dict(
        step=4, group=0, kind="mixed", success=True, prompt="How many?\n\nReason.", completion=text, tokens=tokens,
        entropy=[0.1] * len(tokens), step_ids=steps, clip_end=8, clip_step=clip_step, clip_entropy=0.1,
    )  # fmt: skip
    return {**made, **changes}


def test_every_character_is_there_and_the_clip_is_its_prefix():
    pieces = lay_out(make_exhibit([row()]))
    assert "".join(piece.text for piece in pieces) == "12+3=15⏎#### 15·"
    assert "".join(piece.text for piece in pieces if piece.in_clip) == "12+3=15⏎"
    assert pieces[8].line == 1
    assert pieces[8].column == 0


def test_long_lines_are_broken():
    pieces = lay_out(make_exhibit([row(text="1" * 200)]))
    assert max(piece.column for piece in pieces) == COLUMNS - 1
    assert pieces[-1].line == 200 // COLUMNS


def test_a_picture_is_written(tmp_path):
    write_clips_png([make_exhibit([row()]), make_exhibit([row(text="$a$\nb", clip_step=1)])], tmp_path / "clips.png")
    assert (tmp_path / "clips.png").read_bytes()[:4] == b"\x89PNG"
