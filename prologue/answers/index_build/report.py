"""Prints what a build found, and what to do next."""

from __future__ import annotations

import math
from pathlib import Path

from prologue.answers.answer import STATES
from prologue.answers.index_build.builder import Report

#: Fewer phrasings or negatives than these are worth a word.
PHRASINGS, OWN_NEGATIVES = 10, 900


def print_report(report: Report, out: Path) -> None:
    """The figures of a build, then advice, one line each."""
    print(
        f"{out}: {report.answers} answers, {report.phrasings} phrasings, {report.negatives} negatives,"
        f" {report.facts} facts"
    )
    print(f"Phrasings held out with their like, at a budget of {report.budget:.2%} false answers:")
    for state in STATES:
        low, high = report.interval[state]
        print(
            f"  {state:<9} found {report.recall[state]:.0%} (95% {low:.0%} to {high:.0%}),"
            f" wrong answer {report.wrong[state]:.1%}, threshold {report.thresholds[state]:.2f}"
        )
    for line in advice(report):
        print(f"Next: {line}")


def advice(report: Report) -> list[str]:
    """What would make the index better, the most useful first."""
    found = []
    each = report.phrasings / report.answers
    if report.foreign:
        return ["the embedder reads English, and this index is in another language: only exact phrasings are answered."]
    if any(math.isinf(limit) for limit in report.thresholds.values()):
        found.append("too few negatives to promise the budget, so only exact phrasings are answered: add lines.")
    if each < PHRASINGS:
        found.append(f"{each:.0f} phrasings an answer are few; {PHRASINGS} different ones find far more.")
    if report.five_more >= 0.01:
        found.append(f"five more phrasings an answer would find about {report.five_more:.0%} more.")
    if report.thin:
        thin = ", ".join(f"{name} ({share:.0%})" for name, share in report.thin)
        found.append(f"found least when a phrasing is held out: {thin}. Write phrasings in other words.")
    for name, other, count in report.confused:
        found.append(f"{name} is taken for {other} ({count} held-out phrasings): make them differ, or make them one.")
    if report.negatives < OWN_NEGATIVES:
        found.append("a negatives.txt of your own, near-misses above all, makes the threshold fit your world.")
    if report.decisive:
        found.append(f"these negatives set the threshold; is none of them a question? {'; '.join(report.decisive)}")
    return found
