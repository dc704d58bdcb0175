"""Public intent sets as answer indexes: CLINC150, and BANKING77-OOS with near and far lines apart.

Every rule gets the same embeddings. Recall at a budget is read off each rule's own curve, that is with the
best threshold in hindsight; what *our* threshold keeps of its promise is shown apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.answers.rules import BUDGETS, Floats, Ints, Scored, at_threshold, curve, nearest, recalls, route_mean
from model_build.plots import write_curves
from prologue.answers.acceptance import fit, score, threshold
from prologue.answers.answer import Answer
from prologue.answers.embedder import Embedder
from prologue.answers.index import to_units
from prologue.answers.index_build.builder import AnswerIndexBuilder
from prologue.answers.index_build.classifiers import fit_classifiers

PEERS = (("GPTCache at its default 0.6", 0.6), ("redis-vl cache at its default 0.9", 0.9))
#: Lines (text, intent) and lines without an intent, by their kind.
Pairs = Sequence[tuple[str, str]]


class IntentSet(NamedTuple):
    """`train` and `test` are (text, intent); `away` are lines without an intent to learn from, `outside` to test."""

    name: str
    train: Pairs
    test: Pairs
    away: Sequence[str]
    outside: Mapping[str, Sequence[str]]


def read_clinc(folder: Path) -> IntentSet:
    """CLINC150, a folder with data_full.json."""
    data = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    away = [text for split in ("oos_train", "oos_val") for text, _ in data[split]]
    return IntentSet("CLINC150", data["train"], data["test"], away, {"outside": [t for t, _ in data["oos_test"]]})


def read_banking(folder: Path) -> IntentSet:
    """BANKING77-OOS as published: {train,valid,test}/{seq.in,label} and {id-oos,ood-oos}/{valid,test}/seq.in."""

    def lines(*parts: str) -> list[str]:
        return folder.joinpath(*parts).read_text(encoding="utf-8").splitlines()

    def pairs(split: str) -> Pairs:
        return list(zip(lines(split, "seq.in"), lines(split, "label"), strict=True))

    return IntentSet(
        "BANKING77-OOS",
        pairs("train"),
        pairs("test"),
        [*lines("id-oos", "valid", "seq.in"), *lines("ood-oos", "valid", "seq.in")],
        {"near": lines("id-oos", "test", "seq.in"), "far": lines("ood-oos", "test", "seq.in")},
    )


def bench_intents(model: Embedder, data: IntentSet, seeds: int, out: Path) -> dict[str, Any]:
    """Rules side by side with 5, 10 and 20 phrasings an intent; means over the seeds."""
    names = sorted({intent for _, intent in data.train})
    number = {intent: place for place, intent in enumerate(names)}
    train = np.array([number[intent] for _, intent in data.train])
    asked = np.array([number[intent] for _, intent in data.test])
    vectors = _embed_all(model, data, out.parent / f"{data.name.lower()}-{model.id}.npz")
    results: dict[str, Any] = {}
    for count in (5, 10, 20):
        rows: dict[tuple[str, str], list[list[float]]] = {}
        kept: dict[str, list[tuple[float, float]]] = {}
        for seed in range(seeds):
            draw = np.random.default_rng(seed)
            chosen = np.concatenate([draw.permutation(np.flatnonzero(train == n))[:count] for n in range(len(names))])
            rules = {
                "cosine (GPTCache, redis-vl cache)": nearest(vectors["train"][chosen], train[chosen]),
                "route mean (redis-vl router)": route_mean(vectors["train"][chosen], train[chosen]),
            }
            limit, ours = _ours(data, vectors, chosen, train[chosen], len(names))
            for kind in data.outside:
                scored = {name: (rule(vectors["test"]), rule(vectors[kind])) for name, rule in rules.items()}
                scored["ours"] = ours["test"], ours[kind]
                for name, pair in scored.items():
                    rows.setdefault((kind, name), []).append(recalls(*pair, asked))
                kept.setdefault(kind, []).append(at_threshold(ours["test"], ours[kind], asked, limit))
                if count == 10 and seed == 0:
                    file = out / f"{data.name.lower()}-{kind}.svg"
                    axes = ("false answers (share of lines without an intent)", "recall")
                    curves = {name: curve(*pair, asked) for name, pair in scored.items()}
                    write_curves(file, f"{data.name}, 10 phrasings an intent", axes, curves, 0.001)
                    for name, at in PEERS:
                        recall, false = at_threshold(*scored["cosine (GPTCache, redis-vl cache)"], asked, at)
                        print(f"{name}, {kind}: recall {recall:.3f}, false answers {false:.2%} (10 phrasings)")
        print(f"\n{data.name}, {count} phrasings an intent, mean of {seeds} seeds: recall at false answers of")
        print(f"{'':<46}" + "".join(f"{budget:>8.1%}" for budget in BUDGETS) + f"{'auroc':>8}")
        means = {key: np.mean(found, axis=0).tolist() for key, found in rows.items()}
        for (kind, name), mean in means.items():
            print(f"{kind + ': ' + name:<46}" + "".join(f"{value:>8.3f}" for value in mean))
        for kind, pairs in kept.items():
            recall, false = np.mean(pairs, axis=0)
            worst = max(value for _, value in pairs)
            print(
                f"our threshold, promised 1%, {kind}: recall {recall:.3f}, false {false:.2%} (worst seed {worst:.2%})"
            )
        results[str(count)] = {"rules": {" ".join(key): mean for key, mean in means.items()}, "promised_1%": kept}
    return results


def _embed_all(model: Embedder, data: IntentSet, cache: Path) -> dict[str, Floats]:
    if cache.is_file():
        with np.load(cache) as stored:
            return {name: stored[name] for name in stored.files}
    print(f"Embedding {data.name} once, a few minutes …", flush=True)
    texts = {"train": [t for t, _ in data.train], "test": [t for t, _ in data.test], "away": data.away, **data.outside}
    vectors = {name: model.embed(list(lines)) for name, lines in texts.items()}
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, **vectors)  # type: ignore[arg-type]
    return vectors


def _ours(
    data: IntentSet, vectors: Mapping[str, Floats], chosen: Ints, labels: Ints, count: int
) -> tuple[float, dict[str, Scored]]:
    """Our whole rule: the threshold for 1% of the negatives, and what it makes of the test lines."""
    texts = [data.train[n][0] for n in chosen]
    answers = [
        Answer(f"intent_{n}", tuple(t for t, label in zip(texts, labels, strict=True) if label == n), "")
        for n in range(count)
    ]
    builder = AnswerIndexBuilder(answers, data.away, vectors["train"][chosen], vectors["away"])
    negative, positive = builder.hold_out_negatives(), builder.hold_out_phrasings()
    right = np.concatenate([positive.candidate == positive.wanted, np.zeros(len(negative.rows), bool)])
    weights = fit(np.concatenate([positive.rows, negative.rows]), right)
    limit = threshold(score(negative.rows, weights).tolist(), len(negative.rows), 0.01)
    w, b = fit_classifiers(builder.vectors, builder.labels, builder.away, count)
    scored = {}
    for name, lines in {"test": [t for t, _ in data.test], **data.outside}.items():
        found = builder.candidates(list(lines), to_units(vectors[name], builder.whitening), w, b)
        scored[name] = Scored(found.candidate, score(found.rows, weights).astype(np.float32))
    return limit, scored
