"""The judge: which of two models replies better, by a third model's verdicts, as Arena-Hard-Auto has it.

`endpoint` asks models, `cache` keeps what they said, `arena` has every pair judged in both orders, `score` turns
verdicts into win rate and Elo difference, `__main__` is the command.
"""

from __future__ import annotations


class JudgeError(Exception):
    """What is wrong with an option, a file or an endpoint, and what to do, in one sentence."""
