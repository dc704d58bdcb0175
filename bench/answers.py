# ruff: noqa: E402
"""`python -m bench.answers`: how good and how fast the answer book is, beside its peers' rules.

    --clinc PATH   CLINC150 as a question book (a folder with data_full.json); left out without it
    --book DIR     the Emerald City's book, default build/worlds/emerald_city/book
    --seeds N      draws of phrasings for CLINC150, default 3
    --front DIR    what Front ships for arm64, to be weighed
    --arm64        ask the book on emulated arm64 as well, with what --front names (Linux, root)
    --out DIR      plots and results.json, default build/bench/answers

Every rule gets the same embeddings. The peers: *cosine* to the nearest phrasing, which is also what
GPTCache ranks by (its default answers at 0.6 and above) and redis-vl's semantic cache (0.9 and
above); *route mean*, redis-vl's router: the mean cosine over an answer's phrasings. Recall at a
budget is read off each rule's own curve, that is with the best threshold in hindsight; what *our*
threshold keeps of its promise is shown apart.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# One thread, and it must be said before numpy is imported.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import faiss
import numpy as np
import numpy.typing as npt

from bench.answers_arm64 import Arm64Error, bench_arm64
from model_build.plots import write_curves
from prologue.answers.answer import STATES, Answer, State
from prologue.answers.answers_file import read_negatives
from prologue.answers.builder import AnswerIndexBuilder, make_index
from prologue.answers.classifiers import extend, fit_classifiers, fold_classifiers
from prologue.answers.embedder import Embedder
from prologue.answers.guards import objection, read_features, read_words
from prologue.answers.index import EMBEDDER, AnswerIndex, load_answer_index
from prologue.answers.matcher import FORBIDDEN, threshold
from prologue.answers.measure import Labelled, auroc, measure, read_labelled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
BUDGETS = (0.005, 0.01, 0.05)
DATA = Path(__file__).with_name("data")
WORLD = Path("prologue/worlds/emerald_city")


class Scored(NamedTuple):
    """What a rule makes of lines: the answer it names for each, and how surely."""

    answer: Ints
    score: Floats


Rule = Callable[[Floats], Scored]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clinc", type=Path)
    parser.add_argument("--book", type=Path, default=Path("build/worlds/emerald_city/book"))
    parser.add_argument("--front", type=Path)
    parser.add_argument("--arm64", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench/answers"))
    options = parser.parse_args(arguments)
    for need in [options.book / "book.json", *([options.clinc / "data_full.json"] if options.clinc else [])]:
        if not need.is_file():
            print(f"{need} is missing: build the book with `make setup`, or give another folder.", file=sys.stderr)
            return 1
    model = Embedder(options.book / EMBEDDER)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"embedder": model.id}
    results["emerald_city"] = bench_emerald(options.book)
    results["polarity"] = bench_polarity(model, options.out)
    results["speed"] = bench_speed(options.book)
    if options.front:
        results["front_mb"] = size = (
            sum(file.stat().st_size for file in options.front.rglob("*") if file.is_file()) / 1e6
        )
        print(f"Front ships {size:.0f} MB, unpacked ({options.front})")
    if options.arm64:
        try:
            results["arm64"] = bench_arm64(options.book, options.front or Path("build/front/package"), options.out)
        except Arm64Error as error:
            print(error, file=sys.stderr)
            return 1
        print("Emulated arm64:", ", ".join(f"{name} {value}" for name, value in results["arm64"].items()))
    if options.clinc:
        results["clinc"] = bench_clinc(model, options.clinc, options.seeds, options.out)
    (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\nPlots and results.json are in {options.out}.")
    return 0


# --- the Emerald City ----------------------------------------------------------------------


def bench_emerald(book_folder: Path) -> dict[str, Any]:
    """The shipped book on held-out lines: paraphrases in the prologue, in-story lines in each state."""
    book = load_answer_index(book_folder)
    lines = read_labelled(DATA / "emerald_city.jsonl")
    figures: dict[str, Any] = {"promised": book.about}
    print("\nThe Emerald City's book on held-out lines (paraphrases in the prologue, in-story lines in that state)")
    print(f"{'in-story lines in':<20}{'recall':>9}{'false':>9}{'wrong':>9}{'precision':>11}{'auroc':>8}")
    for state in STATES:
        moved = [line if line.answer else line._replace(state=state) for line in lines]
        found = measure(book, moved)
        figures[state] = found
        row = [found[key] for key in ("recall", "false_answer_rate", "wrong_answer_rate", "precision", "auroc")]
        print(f"{state:<20}{row[0]:>9.3f}{row[1]:>9.4f}{row[2]:>9.4f}{row[3]:>11.3f}{row[4]:>8.3f}")
        figures[f"{state}_false_at_70"] = false = _false_at(book, lines, state, 0.7)
        print(f"{'':<20}at 70% recall, had the threshold been set so: {false:.2%} false answers")
    return figures


def _false_at(book: AnswerIndex, lines: Sequence[Labelled], state: State, recall: float) -> float:
    """The share of in-story lines taken at the threshold at which paraphrases reach a recall, in hindsight."""
    free = replace_thresholds(book, -1.0)
    asked = [line for line in lines if line.answer]
    silent = [line.text for line in lines if not line.answer]
    found = free.judge([line.text for line in asked], "prologue")
    right = sorted(
        (v.score for v, line in zip(found, asked, strict=True) if v.match and v.match.id == line.answer), reverse=True
    )
    needed = int(np.ceil(recall * len(asked)))
    if len(right) < needed:
        return 1.0
    return float(np.mean([v.score >= right[needed - 1] for v in free.judge(silent, state)]))


def replace_thresholds(book: AnswerIndex, value: float) -> AnswerIndex:
    """The same book with one threshold for all states."""
    other = copy.copy(book)
    other.thresholds = dict.fromkeys(STATES, value)
    return other


# --- CLINC150 -------------------------------------------------------------------------------


def bench_clinc(model: Embedder, folder: Path, seeds: int, out: Path) -> dict[str, Any]:
    """Rules side by side on CLINC150 with 5, 10 and 20 phrasings an intent; means over the seeds."""
    data = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    vectors = _embed_all(model, data, out.parent / f"clinc-{model.id}.npz")
    intents = sorted({intent for _, intent in data["train"]})
    number = {intent: place for place, intent in enumerate(intents)}
    train = np.array([number[intent] for _, intent in data["train"]])
    asked = np.array([number[intent] for _, intent in data["test"]])
    # Not the general negatives: many of those errands are what CLINC150's intents ask for.
    world = read_negatives(WORLD / "negatives.txt")
    away_lines = [*(text for split in ("oos_train", "oos_val") for text, _ in data[split]), *world]
    away = np.concatenate([vectors["oos_train"], vectors["oos_val"], model.embed(world)])
    results: dict[str, Any] = {}
    for phrasings in (5, 10, 20):
        rows: dict[str, list[list[float]]] = {}
        kept: list[tuple[float, float]] = []
        for seed in range(seeds):
            draw = np.random.default_rng(seed)
            chosen = np.concatenate(
                [draw.permutation(np.flatnonzero(train == n))[:phrasings] for n in range(len(intents))]
            )
            book, labels = vectors["train"][chosen], train[chosen]
            rules: dict[str, Rule] = {
                "cosine (GPTCache, redis-vl cache)": _nearest(book, labels),
                "route mean (redis-vl router)": _route_mean(book, labels),
                "ours, no guards": _tilted(book, labels, away),
            }
            scored = {name: (rule(vectors["test"]), rule(vectors["oos_test"])) for name, rule in rules.items()}
            ours, (here, there) = _whole(model, data, chosen, vectors, away_lines, away, intents, labels)
            scored["ours"] = (here, there)
            for name, (positive, negative) in scored.items():
                rows.setdefault(name, []).append(_row(positive, negative, asked))
            limit = ours
            hit = (here.score >= limit) & (here.answer == asked)
            kept.append((float(hit.mean()), float((there.score >= limit).mean())))
            if phrasings == 10 and seed == 0:
                points = {
                    name: _defaults(*scored["cosine (GPTCache, redis-vl cache)"], asked, at) for name, at in PEERS
                }
                write_curves(
                    out / "clinc150.svg",
                    "CLINC150, 10 phrasings an intent",
                    ("false answers (share of out-of-scope lines)", "recall"),
                    {name: _curve(*pair, asked) for name, pair in scored.items()},
                    0.001,
                )
        print(f"\nCLINC150, {phrasings} phrasings an intent, mean of {seeds} seeds: recall at false answers of")
        print(f"{'':<36}" + "".join(f"{budget:>8.1%}" for budget in BUDGETS) + f"{'auroc':>8}")
        means = {name: np.mean(found, axis=0).tolist() for name, found in rows.items()}
        for name, mean in means.items():
            print(f"{name:<36}" + "".join(f"{value:>8.3f}" for value in mean))
        recall, false = np.mean(kept, axis=0)
        worst = max(value for _, value in kept)
        print(f"our threshold, promised 1%: recall {recall:.3f}, false answers {false:.2%} (worst seed {worst:.2%})")
        results[str(phrasings)] = {"rules": means, "promised_1%": {"recall": recall, "false": false, "worst": worst}}
    for name, (recall, false) in points.items():
        print(f"{name}: recall {recall:.3f}, false answers {false:.2%} (10 phrasings)")
    results["defaults"] = points
    return results


PEERS = (("GPTCache at its default 0.6", 0.6), ("redis-vl cache at its default 0.9", 0.9))


def _embed_all(model: Embedder, data: Mapping[str, Any], cache: Path) -> dict[str, Floats]:
    if cache.is_file():
        with np.load(cache) as stored:
            return {name: stored[name] for name in stored.files}
    print("Embedding CLINC150 once, a few minutes …", flush=True)
    vectors = {
        name: model.embed([text for text, _ in data[name]])
        for name in ("train", "test", "oos_train", "oos_val", "oos_test")
    }
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, **vectors)  # type: ignore[arg-type]
    return vectors


def _whole(
    model: Embedder,
    data: Mapping[str, Any],
    chosen: Ints,
    vectors: Mapping[str, Floats],
    away_lines: Sequence[str],
    away: Floats,
    intents: Sequence[str],
    labels: Ints,
) -> tuple[float, tuple[Scored, Scored]]:
    """Our whole rule, guards and calibration with it: the threshold for 1%, and what it makes of the test lines."""
    texts = [data["train"][n][0] for n in chosen]
    # CLINC150's intents carry values (dates, places, sums), so a name or number is no other question.
    answers = [
        Answer(f"intent_{n}", tuple(t for t, label in zip(texts, labels, strict=True) if label == n), "", any_name=True)
        for n in range(len(intents))
    ]
    book = AnswerIndexBuilder(answers, away_lines, vectors["train"][chosen], away)
    scores = book.calibrate()["lobby"]
    rows = book.rows()
    scored = []
    for split in ("test", "oos_test"):
        found = book.ask(rows, [text for text, _ in data[split]], vectors[split])["lobby"]
        scored.append(Scored(np.array([n for n, _ in found]), np.array([s for _, s in found], np.float32)))
    return threshold(scores["scores"], scores["count"], 0.01), (scored[0], scored[1])


def _nearest(book: Floats, labels: Ints) -> Rule:
    def rule(lines: Floats) -> Scored:
        scores = lines @ book.T
        best = scores.argmax(axis=1)
        return Scored(labels[best], scores[np.arange(len(lines)), best])

    return rule


def _route_mean(book: Floats, labels: Ints) -> Rule:
    means = np.stack([book[labels == n].mean(axis=0) for n in range(int(labels.max()) + 1)])

    def rule(lines: Floats) -> Scored:
        scores = lines @ means.T
        return Scored(scores.argmax(axis=1), scores.max(axis=1))

    return rule


def _tilted(book: Floats, labels: Ints, away: Floats) -> Rule:
    rows = fold_classifiers(book, labels, fit_classifiers(book, labels, away))

    def rule(lines: Floats) -> Scored:
        scores = extend(lines) @ rows.T
        best = scores.argmax(axis=1)
        return Scored(labels[best], scores[np.arange(len(lines)), best])

    return rule


def _limit(negative: Floats, budget: float) -> float:
    """The least threshold with at most this share of the negatives above it, in hindsight."""
    ranked = np.sort(negative)[::-1]
    return float(ranked[min(int(budget * len(ranked)), len(ranked) - 1)])


def _row(positive: Scored, negative: Scored, asked: Ints) -> list[float]:
    right = positive.answer == asked
    row = [float((right & (positive.score > _limit(negative.score, budget))).mean()) for budget in BUDGETS]
    everything = np.concatenate([positive.score, negative.score]).astype(np.float64)
    is_positive = np.arange(len(everything)) < len(positive.score)
    return [*row, auroc(everything, is_positive) or 0.0]


def _curve(positive: Scored, negative: Scored, asked: Ints) -> list[tuple[float, float]]:
    right = positive.answer == asked
    shares = np.geomspace(0.001, 1, 60)
    return [(float(s), float((right & (positive.score > _limit(negative.score, s))).mean())) for s in shares]


def _defaults(positive: Scored, negative: Scored, asked: Ints, at: float) -> tuple[float, float]:
    return (
        float(((positive.score >= at) & (positive.answer == asked)).mean()),
        float((negative.score >= at).mean()),
    )


# --- polarity -------------------------------------------------------------------------------


def bench_polarity(model: Embedder, out: Path) -> dict[str, Any]:
    """Pairs that lie close and mean different things: each phrasing, a line that means the same, one that does not."""
    rows = [json.loads(line) for line in (DATA / "polarity.jsonl").read_text(encoding="utf-8").splitlines()]
    phrasing, same, other = (model.embed([row[key] for row in rows]) for key in ("phrasing", "same", "other"))
    near, far = (phrasing * same).sum(axis=1), (phrasing * other).sum(axis=1)

    def guarded(key: str, scores: Floats) -> Floats:
        passed = []
        for row in rows:
            own, known = read_features(row["phrasing"]), read_words(row["phrasing"])
            passed.append(objection(read_features(row[key]), own, known, any_name=False, in_story=False) is None)
        return np.where(passed, scores, scores - FORBIDDEN).astype(np.float32)

    sets = {"cosine": (near, far), "ours (cosine with guards)": (guarded("same", near), guarded("other", far))}
    figures: dict[str, Any] = {"pairs": len(rows)}
    print(f"\nPolarity, {len(rows)} pairs: share of same-meaning lines taken at false answers of")
    print(f"{'':<36}" + "".join(f"{budget:>8.1%}" for budget in BUDGETS) + f"{'auroc':>8}{'taken at 0.6':>22}")
    right = np.zeros(len(rows), np.int64)
    for name, (good, bad) in sets.items():
        row = _row(Scored(right, good), Scored(right, bad), right)
        at = {"right_at_0.6": float((good >= 0.6).mean()), "false_at_0.6": float((bad >= 0.6).mean())}
        figures[name] = {"row": row, **at}
        taken = f"{at['right_at_0.6']:.3f} right {at['false_at_0.6']:.3f} false"
        print(f"{name:<36}" + "".join(f"{value:>8.3f}" for value in row) + f"{taken:>26}")
    through = sets["ours (cosine with guards)"][1] > -1
    kinds = np.array([row["kind"] for row in rows])
    passed_by = {kind: [int(through[kinds == kind].sum()), int((kinds == kind).sum())] for kind in sorted(set(kinds))}
    figures["passed_by_kind"] = passed_by
    print("reversed lines that pass: " + ", ".join(f"{kind} {n}/{of}" for kind, (n, of) in passed_by.items()))
    curves = {name: _curve(Scored(right, good), Scored(right, bad), right) for name, (good, bad) in sets.items()}
    axes = ("false answers (share of reversed lines)", "same-meaning lines taken")
    write_curves(out / "polarity.svg", f"Polarity, {len(rows)} pairs", axes, curves, 0.001)
    return figures


# --- speed ----------------------------------------------------------------------------------


def bench_speed(book_folder: Path) -> dict[str, Any]:
    """Times on one thread: embed and search by size of the book, and a fresh process to its first answer."""
    model = Embedder(book_folder / EMBEDDER)
    lines = [line.text for line in read_labelled(DATA / "emerald_city.jsonl")]
    draw = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    print("\nOne line on one thread (embed + search), ms")
    for count in (100, 1_000, 100_000):
        rows = draw.standard_normal((count, 385), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index = make_index(rows)
        faiss.omp_set_num_threads(1)
        times = []
        for line in lines[:200]:
            begun = time.perf_counter()
            index.search(extend(model.embed([line])), 32)
            times.append((time.perf_counter() - begun) * 1000)
        p50, p95 = np.percentile(times, [50, 95])
        figures[str(count)] = {"p50_ms": p50, "p95_ms": p95}
        print(f"  {count:>7} phrasings  p50 {p50:6.2f}  p95 {p95:6.2f}")
    code = (
        "import time; t = time.perf_counter()\n"
        "from prologue.answers.index import load_answer_index\n"
        f"a = time.perf_counter(); book = load_answer_index({str(book_folder)!r}); b = time.perf_counter()\n"
        "book.find('how do I save?'); c = time.perf_counter()\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "print(a - t, b - a, c - b, int(peak) / 1024)"
    )
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        runs.append([float(value) for value in done.stdout.split()])
    imported, loaded, found, memory = min(runs, key=lambda run: sum(run[:3]))
    figures["process"] = {"import_s": imported, "load_s": loaded, "first_s": found, "peak_mb": memory}
    print(f"A fresh process, best of 3: import {imported:.3f} s, load {loaded:.3f} s, first answer {found:.3f} s,")
    print(f"together {imported + loaded + found:.3f} s; peak memory {memory:.0f} MB")
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
