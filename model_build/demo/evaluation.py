"""The evaluation: what the packed model does as the storyteller's engine runs it, in 16 bits and as shipped in INT4.

Perplexity is measured on the replies of a shard that was never trained on. The rest is counted on replies, sampled
as the storyteller samples unless it is told otherwise: fresh walks, questions for what was told at the gate, state
asked for after five turns, lines written by hand (alone, and with the notes that the play finds for them), and plays in
which the model goes on from its own words.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from model_build.demo.city import City, load_city
from model_build.demo.corpus import PAD, Encoder, read_shard
from model_build.demo.folder import SAMPLING, write_manifest
from model_build.demo.judging import acted, judge, patterns, repeated, split
from model_build.demo.recipe import Recipe
from model_build.demo.tokens import load_tokenizer
from model_build.demo.trials import (
    Trial,
    ask_facts,
    ask_notes,
    by_hand,
    known_wordings,
    make_trials,
    remember,
    repeat,
    stranger,
    wording,
)
from prologue.book import load_book
from prologue.errors import BookError
from prologue.prompt import Turn, compose, fit_notes, trim
from prologue.world import World, load_world

if TYPE_CHECKING:
    from storyteller.engine import Engine

REPLY_TOKENS = 320
HELD_OUT_WALKS = 48
#: Turns of a play in which the model goes on from its own words.
PLAY_TURNS = 7
#: Tokens that notes may take, as the storyteller is set by default (`knowledge_tokens` of its settings).
NOTE_TOKENS = 120

#: `(messages, seed)` to the reply and whether it ended by itself.
Teller = Callable[[list[dict[str, str]], int], tuple[str, bool]]
#: The notes of each line written by hand.
Notes = dict[str, list[str]]


def wilson(right: int, of: int) -> dict[str, Any]:
    """A share with its 95% Wilson interval."""
    if not of:
        return {"right": 0, "of": 0, "share": None, "low": None, "high": None}
    z, share = 1.96, right / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)
    return {"right": right, "of": of, "share": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def evaluate(recipe: Recipe, encoder: Encoder, corpus: Path, out: Path, replies: int, book: Path) -> dict[str, Any]:
    """Measures the packed model in `out`, 16-bit and INT4, and writes eval.json beside it.

    The notes are those of the world's answer book in `book`. Raises ValueError where there is none.
    """
    from model_build.pack import pack
    from model_build.pack_source import open_source

    notes = find_notes(book)
    result: dict[str, Any] = {"sampling": SAMPLING, "asked_of_the_hand": "tests/hand_written/lines.yaml"}
    walks = read_shard(corpus, recipe.shards - 1)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        bundle = pack(open_source(str(out), None), Path(folder) / "bundle")
        # side by side, a thread each: a model this small has no use for more
        found = [
            (bits, pool.submit(_measure, recipe, encoder.world.folder, source, walks, replies, bits, notes))
            for bits, source in (("INT4", bundle), ("16 bits", out))
        ]
        for bits, measured in found:
            result[bits] = measured.result()
            (out / "eval.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            write_manifest(out)
    return result


def _measure(
    recipe: Recipe, world: Path, source: Path, walks: list[dict[str, Any]], replies: int, label: str, notes: Notes
) -> dict[str, Any]:
    from storyteller.engine import load_engine

    encoder = Encoder(load_world(world), load_tokenizer(source / "tokenizer.json"), recipe.context, recipe.copied)
    engine = load_engine(source, context=recipe.context, threads=1)
    return measure(engine, encoder, walks, replies, label, notes)


def measure(
    engine: Engine, encoder: Encoder, walks: list[dict[str, Any]], replies: int, label: str, notes: Notes
) -> dict[str, Any]:
    """Perplexity, every row with its interval, and a few replies to read."""
    city, world = load_city(), encoder.world
    tell = teller(engine)
    found: dict[str, Any] = {"perplexity": perplexity(engine, encoder, walks[:HELD_OUT_WALKS])}
    told = make_trials(city, replies)
    asked = ask_facts(city, replies * 2)
    others = [*remember(city, replies), *ask_notes(city, replies), *repeat(city, replies)]
    counts, samples = count(city, world, [*told, *asked, *others], tell, label)
    fitting = {
        line: fit_notes(near, NOTE_TOKENS, lambda text: len(engine.encode(text))) for line, near in notes.items()
    }
    counts += count_by_hand(city, world, by_hand(city), tell, fitting, label)
    counts += play_on(world, max(1, replies // PLAY_TURNS + 1), tell)
    rows = sorted(row[:-3] for row in counts if row.endswith("/of"))
    found["rows"] = {row: wilson(counts[row], counts[f"{row}/of"]) for row in rows}
    found["samples"] = samples
    return found


def teller(engine: Engine, **changes: float) -> Teller:
    """Tells by an engine, with some of the sampling changed."""
    from storyteller.engine import Sampling

    how: dict[str, Any] = {**SAMPLING, **changes}

    def tell(messages: list[dict[str, str]], seed: int) -> tuple[str, bool]:
        kept = trim(messages, engine.context - REPLY_TOKENS, engine.count_chat)  # as the storyteller does
        done = engine.generate(engine.encode_chat(kept), Sampling(**how, seed=seed, max_tokens=REPLY_TOKENS))
        return done.text, done.reason == "stop"

    return tell


def find_notes(book: Path) -> Notes:
    """What Front finds for each line written by hand in the knowledge of a book, the nearest first.

    Raises ValueError where there is no book.
    """
    try:
        opened = load_book(book)
    except BookError as error:
        raise ValueError(str(error)) from error
    return {trial.said: opened.facts(trial.said) for trial in by_hand(load_city())}


def perplexity(engine: Engine, encoder: Encoder, walks: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the replies of some walks, every token weighed alike."""
    padding = encoder.tokenizer.token_to_id(PAD)
    surprise, tokens = 0.0, 0
    for walk in walks:
        ids, _, weights = encoder.encode(walk)
        kept = (ids != padding).nonzero()[0][: engine.context - 1]
        scores = engine.score([int(ids[place]) for place in kept])
        for score, place in zip(scores, kept[1:], strict=True):
            if weights[place] > 0:
                surprise -= score.logprob
                tokens += 1
    return {"walks": len(walks), "tokens": tokens, "perplexity": round(math.exp(surprise / max(1, tokens)), 4)}


def count(
    city: City, world: World, trials: list[Trial], tell: Teller, label: str
) -> tuple[Counter[str], list[dict[str, str]]]:
    """The counts of some trials, and a few replies to read."""
    ways = patterns(city)
    counts: Counter[str] = Counter()
    samples = []
    for number, trial in enumerate(tqdm(trials, desc=f"eval {label}", unit="reply")):
        reply, ended = tell(_messages(world, trial, trial.notes), number)
        counts += judge(city, trial, reply, ended, ways)
        if number < 8:
            samples.append({"name": trial.profile["name"], "place": trial.place, "said": trial.said, "reply": reply})
    return counts, samples


def count_by_hand(
    city: City, world: World, trials: list[Trial], tell: Teller, notes: Notes, label: str
) -> Counter[str]:
    """The counts of lines written by hand: whether each got what it wanted, alone and as the play tells it, with notes
    for those that have some; and what the replies to the lines alone mention of the profile."""
    ways, wordings = patterns(city), known_wordings(city)
    counts: Counter[str] = Counter()
    for number, trial in enumerate(tqdm(trials, desc=f"eval {label}, by hand", unit="line")):
        reply, ended = tell(_messages(world, trial, []), number)
        judged = judge(city, trial, reply, ended, ways)
        counts += Counter({row: n for row, n in judged.items() if not row.startswith(("two", "three", "ends"))})
        alone = noted = acted(trial, reply)
        if notes[trial.said]:
            noted = acted(trial, tell(_messages(world, trial, notes[trial.said]), number)[0])
        alike = "as the generator words it" if wording(trial.said) in wordings else "worded as in no list"
        for row, done in (("right action", alone), ("right action with the play's notes", noted)):
            counts += Counter({row: int(done), f"{row}/of": 1})
            counts += Counter({f"{row}: {trial.intent}": int(done), f"{row}: {trial.intent}/of": 1})
        counts += Counter({f"right action, {alike}": int(alone), f"right action, {alike}/of": 1})
    return counts


def _messages(world: World, trial: Trial, notes: list[str]) -> list[dict[str, str]]:
    return compose(world, trial.profile, [*trial.before, Turn(trial.said, "", notes)])


def play_on(world: World, plays: int, tell: Teller) -> Counter[str]:
    """Plays by the model alone: the visitor taps one of the choices offered, and no sentence should come again."""
    counts: Counter[str] = Counter()
    for number in tqdm(range(plays), desc="eval, own words", unit="play"):
        rng = Random(f"play/{number}")
        profile, said = stranger(rng), ""
        turns: list[Turn] = []
        for turn in range(PLAY_TURNS):
            reply, _ = tell(compose(world, profile, [*turns, Turn(said)]), number * PLAY_TURNS + turn)
            body, choices, formed = split(reply)
            again, lines = repeated([split(told.reply)[0] for told in turns], body)
            counts += Counter({"sentence not told before": lines - again, "sentence not told before/of": lines})
            turns.append(Turn(said, reply))
            said = rng.choice(choices) if formed else "What now?"
    return counts
