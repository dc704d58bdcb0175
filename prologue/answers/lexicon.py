"""English words that the guards look for."""

from __future__ import annotations


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


NEGATIONS = _set(
    "not never no none nothing nobody nowhere neither nor without cannot hardly impossible unable",
    "dont doesnt didnt cant wont isnt arent wasnt couldnt shouldnt wouldnt havent hasnt aint",
)

CONTRACTIONS = {"'s": "is", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
