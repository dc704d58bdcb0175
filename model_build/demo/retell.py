"""How a story says back what a visitor typed: `my hat` is `your hat`, `I am lost` is `because you are lost`.

Copying is what the demo model must learn, and to copy well is to put a word right here and there.
Knows nothing of places or dialogues.
"""

from __future__ import annotations

import re

_SWAPS = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "i'm": "you're", "im": "you're",
    "i've": "you've", "i'd": "you'd", "i'll": "you'll", "i’m": "you’re", "i’ve": "you’ve",
}  # fmt: skip
_WORD = re.compile(r"[\w’']+")
#: Reasons that need only "You have come" before them.
_READY = (
    "to", "for", "because", "in", "on", "with", "out", "just", "searching", "looking", "hoping", "since", "as", "by",
)  # fmt: skip
#: Reasons that are a sentence of their own.
_SENTENCES = (
    "i", "i'm", "im", "i’m", "i've", "i'd", "we", "we're", "it", "it's", "he", "she", "they", "someone", "somebody",
    "nobody", "everyone", "there",
)  # fmt: skip


def you(text: str) -> str:
    """The visitor's words as said to the visitor: first person to second."""
    swapped = _WORD.sub(lambda match: _SWAPS.get(match[0].lower(), match[0]), text)
    return re.sub(r"\b(you) (am|was)\b", lambda m: f"you {'are' if m[2] == 'am' else 'were'}", swapped)


def theirs(what: str) -> str:
    """What a visitor names, as a reply says it back: `my hat` is `your hat`, `a hat` stays `a hat`."""
    return "your " + what[3:] if what.lower().startswith("my ") else what


def refer(companion: str) -> str:
    """How a story speaks of the companion: `A small dog` is `the small dog`, `my cat Mog` is `your cat Mog`, `all of my
    cats` is `all of your cats`."""
    companion = re.sub(r"(?<=\w )(my|our)\b", "your", companion)
    for article, other in (("a ", "the "), ("an ", "the "), ("my ", "your "), ("the ", "the "), ("your ", "your ")):
        if companion.lower().startswith(article):
            return other + companion[len(article) :]
    return companion


def because(reason: str) -> str:
    """What follows "You have come": `to see the sea`, `because you are lost`, `for one reason: love`."""
    said = reason.rstrip(".!? ")
    first = _WORD.search(said)
    word = first[0].lower() if first else ""
    if word in (*_READY, *_SENTENCES, "the", "my", "a", "an", "curiosity"):
        said = said[0].lower() + said[1:]
    said = you(said)
    if word in _READY:
        return said
    return f"because {said}" if word in _SENTENCES else f"for one reason: {said}"
