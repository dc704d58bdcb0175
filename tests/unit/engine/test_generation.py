"""Generation on tiny real models: the same tokens every way, and an end as soon as it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from storyteller.engine import Engine, EngineError, Sampling, load_engine
from storyteller.engine.generation import CHUNK
from storyteller.engine.sampling import Sampler
from storyteller.engine.text.reply import RepetitionGuard, StopTexts
from tests.tiny_llama import END_TEXT, END_TURN, write_tiny_llama

GREEDY = Sampling(temperature=0.0, max_tokens=40)
PROMPT = list(b"Once upon a time, behind the green gate of the city,")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), words=["time", "green"])


@pytest.fixture
def engine(folder: Path) -> Engine:
    return load_engine(folder)


class Scripted:
    """A model that says a given line whatever it is asked, and counts how it was asked."""

    name, context, vocab, batch_invariant, cheap_batches = "scripted", 256, 512, False, False

    def __init__(self, script: Sequence[int], prompt: int, before: Callable[[int], None] = lambda at: None) -> None:
        self.script, self.prompt, self.before = script, prompt, before
        self.forwards: list[tuple[int, int]] = []

    def forward(self, ids: Sequence[int], start: int, cache: object, rows: int = 1) -> Tensor:
        self.forwards.append((start, len(ids)))
        self.before(start)
        logits = torch.zeros(rows, self.vocab)
        for row in range(rows):
            place = start + len(ids) - rows + row + 1 - self.prompt
            if 0 <= place < len(self.script):
                logits[row, self.script[place]] = 100.0
        return logits

    def new_cache(self) -> None:
        return None

    def copy_cache(self, source: object, target: object, count: int) -> None:
        return None

    def take_cache(self, cache: object, count: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def scripted(engine: Engine, script: Sequence[int], before: Callable[[int], None] = lambda at: None) -> Engine:
    return Engine(Scripted(script, len(PROMPT), before), engine.tokenizer, tuple(engine.stop_ids))


def ids_of(engine: Engine, text: str) -> list[int]:
    return engine.tokenizer.encode(text, special=False)


def test_greedy_is_argmax_without_a_cache(engine: Engine, folder: Path) -> None:
    plain, history = load_engine(folder)._model, list(PROMPT)
    for _ in range(GREEDY.max_tokens):
        token = int(plain.forward(history, 0, plain.new_cache())[0].argmax())
        if token in engine.stop_ids:
            break
        history.append(token)
    assert engine.generate(PROMPT, GREEDY).ids == tuple(history[len(PROMPT) :])


def test_a_seed_gives_the_same_reply_and_another_gives_another(engine: Engine) -> None:
    def tell(seed: int | None) -> str:
        return engine.generate(PROMPT, Sampling(temperature=1.5, top_p=0.99, seed=seed, max_tokens=60)).text

    assert tell(5) == tell(5)
    assert len({tell(1), tell(2), tell(3)}) == 3
    assert tell(None) != tell(None)


def test_a_prompt_that_shares_its_beginning_is_not_computed_again(engine: Engine, folder: Path) -> None:
    first = engine.generate(PROMPT, GREEDY)
    longer = [*PROMPT, *first.ids, *b"And then?"]
    again = engine.generate(longer, GREEDY)
    # The last token of a reply is sampled but never computed.
    assert again.reused_tokens == len(PROMPT) + len(first.ids) - 1
    assert again.ids == load_engine(folder).generate(longer, GREEDY).ids
    other = [*PROMPT[:20], *b"another way"]
    branched = engine.generate(other, GREEDY)
    assert branched.reused_tokens == 20
    assert branched.ids == load_engine(folder).generate(other, GREEDY).ids


def test_the_same_prompt_again_computes_only_its_last_token(engine: Engine) -> None:
    first = engine.generate(PROMPT, GREEDY)
    again = engine.generate(PROMPT, GREEDY)
    assert (first.reused_tokens, again.reused_tokens) == (0, len(PROMPT) - 1)
    assert again.text == first.text


def test_cancel_ends_within_a_token(engine: Engine) -> None:
    told: list[str] = []
    talk = scripted(engine, ids_of(engine, "abcdefghijklmnop"))
    done = talk.generate(PROMPT, GREEDY, emit=told.append, cancelled=lambda: len(told) >= 3)
    assert (done.reason, done.text, done.tokens, told) == ("cancelled", "abc", 3, ["a", "b", "c"])


def test_cancel_between_parts_of_a_long_prompt(engine: Engine) -> None:
    long = [65] * (3 * CHUNK)
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 2

    done = engine.generate(long, GREEDY, cancelled=cancelled)
    assert (done.reason, done.tokens, done.text) == ("cancelled", 0, "")
    again = engine.generate(long, GREEDY)
    assert again.reused_tokens == 2 * CHUNK


def test_a_deadline_ends_the_reply_where_it_is(engine: Engine) -> None:
    start = time.monotonic()
    clock = iter(range(1000))
    slow = lambda at: time.sleep(0.01) if next(clock) else None  # noqa: E731
    talk = scripted(engine, ids_of(engine, "abcdefghijklmnop"), before=slow)
    done = talk.generate(PROMPT, GREEDY, deadline=start + 0.05)
    assert done.reason == "deadline"
    assert 1 <= done.tokens < 16
    assert "abcdefghijklmnop".startswith(done.text)
    assert talk.generate(PROMPT, GREEDY, deadline=time.monotonic()).tokens == 0


def test_every_stop_token_ends_the_reply(engine: Engine) -> None:
    vocabulary = engine.tokenizer.vocabulary.get_vocab()
    ids = [vocabulary[END_TEXT], vocabulary[END_TURN]]
    assert engine.stop_ids == frozenset(ids)
    for stop in ids:
        done = scripted(engine, [*ids_of(engine, "ab"), stop, *ids_of(engine, "cd")]).generate(PROMPT, GREEDY)
        assert (done.reason, done.text, done.tokens) == ("stop", "ab", 2)


def test_max_tokens_and_the_context_end_it_by_length(engine: Engine) -> None:
    assert engine.generate(PROMPT, Sampling(temperature=0, max_tokens=3)).reason == "length"
    done = engine.generate([65] * 250, Sampling(temperature=0, max_tokens=100))
    assert done.reason in ("length", "stop")
    assert done.tokens <= 6


def test_a_prompt_that_does_not_fit_says_so(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"prompt has 256 tokens, but the context holds 256 .* shorten the prompt"):
        engine.generate([65] * 256, GREEDY)
    with pytest.raises(EngineError, match="prompt is empty"):
        engine.generate([], GREEDY)
    with pytest.raises(EngineError, match="token id that the model does not know"):
        engine.generate([100_000], GREEDY)


def test_a_stop_text_ends_the_reply_and_is_not_told(engine: Engine) -> None:
    told: list[str] = []
    talk = scripted(engine, ids_of(engine, "abcEND def"))
    done = talk.generate(PROMPT, Sampling(temperature=0, stop=("END", "ENERGY")), emit=told.append)
    assert (done.reason, done.text, "".join(told)) == ("stop", "abc", "abc")


def test_what_only_looked_like_a_stop_text_is_told() -> None:
    gate = StopTexts(["\nUser:"])
    assert [gate.push(text) for text in ["a\n", "Us", "ual", " b\nUse"]] == ["a", "", "\nUsual", " b"]
    assert gate.flush() == "\nUse"
    assert not gate.hit


@pytest.mark.parametrize("text", ["naïve – 😀 你好!", "👩‍👩‍👧 family", "e\u0301", "tail 😀"])
def test_characters_come_whole(engine: Engine, text: str) -> None:
    told: list[str] = []
    stop = min(engine.stop_ids)
    prompt = list(PROMPT)
    ids = ids_of(engine, text)
    assert len(ids) > len(text)
    done = scripted(engine, [*ids, stop]).generate(prompt, GREEDY, emit=told.append)
    assert done.text == "".join(told) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(told)


def test_half_a_character_at_the_end_is_shown_as_broken(engine: Engine) -> None:
    half = ids_of(engine, "😀")[:2]
    told: list[str] = []
    done = scripted(engine, [*ids_of(engine, "ab"), *half, min(engine.stop_ids)]).generate(
        PROMPT, GREEDY, emit=told.append
    )
    assert told[:2] == ["a", "b"]
    assert done.text == "ab\N{REPLACEMENT CHARACTER}"


def test_a_penalty_makes_repeating_rarer(engine: Engine) -> None:
    logits = torch.tensor([2.0, 1.9, -1.0, -1.1])
    plain = Sampler(Sampling(temperature=0))
    wary = Sampler(Sampling(temperature=0, repetition_penalty=1.2))
    assert plain.sample(logits, [0]) == 0
    assert wary.sample(logits, [0]) == 1
    assert wary.sample(torch.tensor([-9.0, -9.0, -1.0, -1.1]), [2]) == 3


def test_sampling_follows_the_probabilities_of_the_nucleus() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    sampler = Sampler(Sampling(temperature=1.0, top_p=0.9, seed=0))
    counts = [0, 0, 0, 0]
    for _ in range(4000):
        counts[sampler.sample(logits, [])] += 1
    assert counts[3] == 0
    for count, share in zip(counts, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95], strict=False):
        assert abs(count / 4000 - share) < 0.03


def test_what_is_far_less_likely_than_the_likeliest_is_left_out_however_warm_the_story() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    sampler = Sampler(Sampling(temperature=5.0, top_p=1.0, min_p=0.25, seed=0))
    counts = [0, 0, 0, 0]
    for _ in range(3000):
        counts[sampler.sample(logits, [])] += 1
    assert counts[3] == 0
    assert min(counts[:3]) > 800


def test_only_the_likeliest_k_are_drawn_and_the_nucleus_is_of_them() -> None:
    logits = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))
    drawn = [0, 0, 0, 0]
    sampler = Sampler(Sampling(temperature=1.0, top_p=1.0, top_k=2, seed=0))
    for _ in range(2000):
        drawn[sampler.sample(logits, [])] += 1
    assert drawn[0] == drawn[2] == 0
    assert abs(drawn[1] / 2000 - 4 / 7) < 0.04
    narrow = Sampler(Sampling(temperature=1.0, top_p=0.55, top_k=2, seed=0))
    assert {narrow.sample(logits, []) for _ in range(50)} == {1}
    everything = Sampler(Sampling(temperature=1.0, top_p=1.0, top_k=9, seed=0))
    assert {everything.sample(logits, []) for _ in range(300)} == {0, 1, 2, 3}


def test_a_wide_nucleus_is_found_past_the_first_look() -> None:
    sampler = Sampler(Sampling(temperature=1.0, top_p=0.99, seed=0))
    drawn = {sampler.sample(torch.zeros(5000), []) for _ in range(500)}
    assert len(drawn) > 400


def test_logprobs_are_those_of_the_plain_softmax(engine: Engine) -> None:
    done = engine.generate(PROMPT, Sampling(temperature=0, max_tokens=5, logprobs=3))
    assert len(done.logprobs) == done.tokens
    for token, entry in zip(done.ids, done.logprobs, strict=True):
        assert entry.token == token == entry.top[0][0]
        assert entry.logprob == entry.top[0][1] < 0
        assert len(entry.top) == 3


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 1.0}, "min_p"),
        ({"top_k": -1}, "top_k"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ("",)}, "stop"),
    ],
)
def test_sampling_out_of_range_is_refused(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(EngineError, match=named):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_a_sentence_that_comes_a_third_time_ends_the_reply(engine: Engine) -> None:
    script = ids_of(engine, "The gate is green. " * 5)
    done = scripted(engine, script).generate(PROMPT, Sampling(temperature=0, max_tokens=150))
    assert done.text.strip() == "The gate is green. The gate is green. The gate is green."
    assert (done.reason, done.repetitive) == ("stop", True)
    free = scripted(engine, script).generate(PROMPT, Sampling(temperature=0, max_tokens=90, sentence_limit=0))
    assert (free.tokens, free.repetitive) == (90, False)


@pytest.mark.parametrize(
    ("text", "noticed"),
    [
        ("He went home. " * 3, True),
        ("“He went home.” HE  WENT HOME! He went home. He went home.\n", False),  # other marks, another sentence
        ("> Go to the gate\n" * 3, True),  # a line is a sentence
        ("No. " * 9, False),
        ("彼は家に帰って、そして眠りました。" * 3, True),
        ("He went home. " * 2 + "He went home", False),
    ],
)
def test_the_guard_counts_sentences_however_they_are_cut(text: str, noticed: bool) -> None:
    for step in (1, 5, len(text)):
        guard = RepetitionGuard(2)
        pushed = [guard.push(text[at : at + step]) for at in range(0, len(text), step)]
        assert any(pushed) is noticed
    assert not RepetitionGuard(0).push(text)


def test_a_padded_vocabulary_is_never_sampled(engine: Engine) -> None:
    size = engine.tokenizer.size
    padded = scripted(engine, [size + 1] * 20)  # the likeliest by far, and no token
    done = padded.generate(PROMPT, Sampling(temperature=1.0, seed=1, max_tokens=5))
    assert done.ids
    assert max(done.ids) < size
