"""Lets a judge compare two models, prompt by prompt.

    python -m bench.judge --baseline A --candidate B --judge MODEL@URL [--prompts FILE] [--parallel N] [--offline]

A and B are endpoints of OpenAI's chat protocol (MODEL@URL, or the URL alone of a server with one model, such as
`python -m model_build serve`), or JSON-lines files of answers, `{"id": …, "answer": …}`. Without --prompts, which
takes a JSON-lines file of `{"id": …, "prompt": …}`, the visitors of bench.storyteller say their lines.

All that was answered and judged is kept in --cache: stopped, the same command goes on; with --offline it needs no
network. Keys come from the environment alone: JUDGE_API_KEY, BASELINE_API_KEY, CANDIDATE_API_KEY.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.judge import JudgeError
from bench.judge.arena import VERDICTS, Arena, Limits, Pair, Player, play_prompts, read_prompts
from bench.judge.cache import Cache
from bench.judge.endpoint import AnswerFile, Endpoint
from bench.judge.score import Estimate, Score, score
from prologue.world import WorldError

ROOT = Path(__file__).resolve().parents[2]


def player(place: str, key_variable: str, offline: bool) -> Player:
    """A file of answers where `place` is no address, else an endpoint."""
    if "://" in place:
        return Endpoint(place, key_variable, offline=offline)
    return AnswerFile(Path(place))


def tally(pairs: Sequence[Pair]) -> dict[str, tuple[int, int]]:
    """How often each verdict came: with the baseline as A, and with the candidate as A."""
    orders = [[pair.baseline_first for pair in pairs], [pair.candidate_first for pair in pairs]]
    counts = {verdict: (orders[0].count(verdict), orders[1].count(verdict)) for verdict in VERDICTS}
    return {**counts, "unreadable": (orders[0].count(None), orders[1].count(None))}


def markdown(title: str, found: Score, counted: dict[str, tuple[int, int]]) -> str:
    """The figures to be read."""
    plain, held = (found.win_rate, found.elo), (found.win_rate_at_equal_style, found.elo_at_equal_style)
    first = f"{100 * found.first:.1f}%" if not math.isnan(found.first) else "-"
    return "\n".join(
        [
            f"{title}. Of {found.pairs} pairs that were readable in both orders, with 95% intervals:",
            "",
            "| | the candidate's win rate | its Elo difference |",
            "|---|---|---|",
            f"| as judged | {_share(plain[0])} | {_elo(plain[1])} |",
            f"| at equal style | {_share(held[0])} | {_elo(held[1])} |",
            "",
            "| verdict | the baseline is A | the candidate is A |",
            "|---|---|---|",
            *(f"| {verdict} | {ours} | {theirs} |" for verdict, (ours, theirs) in counted.items()),
            "",
            f"The winner changes with the order in {100 * found.flips:.1f}% of the pairs; A wins {first} of the "
            "verdicts that prefer one.",
            "",
            "| one standard deviation more of | is worth, in Elo |",
            "|---|---|",
            *(f"| {name} | {_elo(worth)} |" for name, worth in found.styles.items()),
        ]
    )


def _share(estimate: Estimate) -> str:
    value, low, high = (100 * one for one in estimate)
    return f"{value:.1f}% ({low:.1f} to {high:.1f})"


def _elo(estimate: Estimate) -> str:
    value, low, high = map(round, estimate)
    return f"{value:+d} ({low:+d} to {high:+d})"


def rows(found: Score, counted: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The same in the benches' common form; `rounds` counts pairs, and a verdict's "median" is how often it came."""

    def one(quantity: str, unit: str, estimate: Sequence[float], **about: object) -> dict[str, Any]:
        value, low, high = estimate
        return {"quantity": quantity, "unit": unit, "median": value, "low": low, "high": high,
                "rounds": found.pairs, **about}  # fmt: skip

    return [
        one("win_rate", "share", found.win_rate, style="as judged"),
        one("win_rate", "share", found.win_rate_at_equal_style, style="equal"),
        one("elo_difference", "Elo", found.elo, style="as judged"),
        one("elo_difference", "Elo", found.elo_at_equal_style, style="equal"),
        *(one("style_worth", "Elo", worth, style=name) for name, worth in found.styles.items()),
        one("order_flips", "share", [found.flips] * 3),
        *(
            one("verdicts", "games", [count] * 3, verdict=verdict, first=first)
            for verdict, orders in counted.items()
            for first, count in zip(("baseline", "candidate"), orders, strict=True)
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.judge", description="Which of two models replies better.")
    parser.add_argument("--baseline", required=True, metavar="A", help="MODEL@URL, or a JSON-lines file of answers")
    parser.add_argument("--candidate", required=True, metavar="B", help="the same")
    parser.add_argument("--judge", required=True, metavar="URL", help="MODEL@URL")
    parser.add_argument("--prompts", type=Path, help="a JSON-lines file of {id, prompt} (default: the visitors' lines)")
    parser.add_argument("--world", type=Path, default=ROOT / "prologue" / "worlds" / "emerald_city")
    parser.add_argument("--most", type=int, default=100, help="how many prompts, from the first (default 100)")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "bench" / "judge.jsonl")
    parser.add_argument("--offline", action="store_true", help="take everything from the cache; ask nobody")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="requests at once (default 4)")
    parser.add_argument("--temperature", type=float, help="of the answers (default: as each server will)")
    parser.add_argument("--answer-tokens", type=int, default=1024, help="the most of an answer (default 1024)")
    parser.add_argument("--judge-tokens", type=int, default=2048, help="the most of a judgement (default 2048)")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (default 0)")
    options = parser.parse_args(arguments)
    try:
        for name in ("most", "parallel", "answer_tokens", "judge_tokens"):
            if getattr(options, name) < 1:
                raise JudgeError(f"--{name.replace('_', '-')} is {getattr(options, name)}: give at least 1.")
        run(options)
    except (JudgeError, WorldError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped. {options.cache} keeps what was said; the same command goes on.", file=sys.stderr)
        return 130
    return 0


def run(options: argparse.Namespace) -> None:
    """The comparison. Raises JudgeError."""
    baseline = player(options.baseline, "BASELINE_API_KEY", options.offline)
    candidate = player(options.candidate, "CANDIDATE_API_KEY", options.offline)
    judge = Endpoint(options.judge, "JUDGE_API_KEY", offline=options.offline)
    prompts = (
        read_prompts(options.prompts, options.most) if options.prompts else play_prompts(options.world, options.most)
    )
    limits = Limits(options.answer_tokens, options.judge_tokens, options.temperature)
    arena = Arena(baseline, candidate, judge, Cache(options.cache), limits, parallel=options.parallel)
    pairs = arena.play(prompts, offline=options.offline)
    found, counted = score(pairs, options.seed), tally(pairs)
    text = markdown(f"{candidate.model} against {baseline.model}, judged by {judge.model}", found, counted)
    print(text)
    about: dict[str, Any] = {
        "baseline": baseline.model,
        "candidate": candidate.model,
        "judge": judge.model,
        "prompts": len(pairs),
    }
    path = results.write("judge", rows(found, counted), threads=options.parallel, **about)
    path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    print(f"\nkept in {path}")


if __name__ == "__main__":
    sys.exit(main())
