"""Texts of rollouts and prompts in which every character is visible."""

from __future__ import annotations

import unicodedata

from echorl.support.texts import parse_json


def visible(text: str) -> str:
    """Return the text with control characters, direction marks and surrogates made visible.

    >>> visible("a\\x00\\u202eb\\n")
    'a␀\\\\u202eb\\n'
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Co"):
        return character
    if code < 0x20 or code == 0x7F:
        return "␡" if code == 0x7F else chr(0x2400 + code)
    if character in "\u200c\u200d":  # joiners are part of scripts and emoji
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def prompt_text(prompt: str) -> str:
    """Return a prompt as text; for chat messages (JSON) their contents, with the role before each."""
    try:
        messages = parse_json(prompt)
        if not isinstance(messages, list) or not messages:
            return prompt
        return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    except (ValueError, TypeError, KeyError):
        return prompt
