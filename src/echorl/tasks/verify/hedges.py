"""Words and signs around a number that deny it, make it vague, or add another one."""

from __future__ import annotations

import re

_DENIAL = re.compile(
    r"n't\b|\b(?:not|nor|neither|never|none|cannot|non|or|either|except|excluding|without|unless|if|versus|vs"
    r"|maybe|perhaps|possibly|probably|guess\w*|unsure|uncertain|unknown|unclear|doubt\w*|wrong|incorrect|false"
    r"|impossible|instead|rather|nearly|almost|plus|modulo|mod|reciprocal|inverse|octal|binary|hexadecimal"
    r"|nicht|oder|kein\w*|weder|entre|ni|ou)\b|[0-9] ?-?ish\b|\bno (?:longer|more|less|fewer)\b|[不非或否未無没]"
    r"|\b(?:could|might|may)\b(?: \w+)? be\b|\bat (?:the )?(?:least|most|minimum|maximum)\b"
    r"|\b(?:up|down|close|next) to\b|\b(?:all|any\w*|everything) but\b"
    r"|\b(?:root|logarithm|square|cube|multiple|factor|power|opposite|half|third|quarter|fraction|remainder) of\b"
    r"|\bin base\b|\bbase[- ](?:two|three|eight|ten|twelve|sixteen)\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(  # in front of the number
    r"\b(?:(?:than|between|half|twice|double|triple|thrice)\W+(?:[a-z]+ ){0,2}?"
    r"|(?:over|under|above|below|beyond|within|near|past|exceed\w*|until|till|no|min|max|minimum|maximum) ?[:=]?)"
    r"[$€£ ]*[0-9]",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"[0-9] ?(?:"
    r"[,;:]?(?: and)?(?: an?)? ?(?:half|halves|thirds?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?|no)\b"
    r"|(?:[a-z]+ )?(?:and|point|times|to) (?:an? )?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|\w+teen|\w+ty|half|quarter)\b|(?:twice|thrice|squared|cubed|factorial|minus)\b)",
    re.IGNORECASE,
)
_SIGNS = re.compile(r"\?|!=|[<>|]|\\(?:neq?|pm|mp|lt|gt|leq?|geq?|sim|not|neg|lor|vee|land|wedge)(?![A-Za-z])")


def is_hedged(text: str) -> bool:
    """Return whether a word or a sign denies the number, makes it vague, or adds another one.

    >>> is_hedged("not 42"), is_hedged("42 or more"), is_hedged("exactly 42")
    (True, True, False)
    """
    return any(pattern.search(text) for pattern in (_DENIAL, _BEFORE, _BEHIND, _SIGNS))
