"""Replies held to a grammar: by models that would rather say anything else, with and without drafting."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from storyteller.engine import Engine, EngineError, Grammar, Sampling, Tokenizer, load_engine
from tests.tiny_llama import END_TEXT, END_TURN, write_tiny_llama

PROMPT = list(b"Knock on the green gate.")
#: Two lines, of which the second does not contain the letter that the first begins with.
PAIR = Grammar("regex", "[a-f]{1,3}\n", lambda text: None if text[-1] != "\n" else f"[a-zа-я&&[^{text[0]}]]{{1,4}}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), words=["time", "green", "“Yes,”", "ab\n"])


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def stops(tokenizer: Tokenizer) -> list[int]:
    vocabulary = tokenizer.vocabulary.get_vocab()
    return [vocabulary[END_TEXT], vocabulary[END_TURN]]


class Noise:
    """A model whose logits at each place are random, but always the same there; it counts its passes."""

    name, context, vocab = "noise", 8192, 320

    def __init__(self, seed: int, *, cheap_batches: bool = False, favourites: Sequence[int] = ()) -> None:
        self.batch_invariant = self.cheap_batches = cheap_batches
        self.seed, self.favourites = seed, favourites
        self.passes = 0

    def forward(self, ids: Sequence[int], start: int, cache: object, rows: int = 1) -> Tensor:
        self.passes += 1
        logits = torch.empty(rows, self.vocab)
        for row in range(rows):
            place = start + len(ids) - rows + row
            # of few kinds, so that the same tokens come again and drafts are sometimes right
            made = torch.Generator().manual_seed(self.seed * 7 + place % 7)
            logits[row] = torch.randn(self.vocab, generator=made) * 3
            logits[row, list(self.favourites)] += 20
        return logits

    def new_cache(self) -> None:
        return None

    def copy_cache(self, source: object, target: object, count: int) -> None:
        return None

    def take_cache(self, cache: object, count: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:yes|no|perhaps)",
        r"[0-9]{4}-[0-9]{2}",
        r"“[a-zà-öа-яא-ת一-龥 ]{1,30}”\.",
        "naïve 你好 😀{1,3}",
        r"(?:[A-Z][a-z]{0,5} ?){1,4}\.",
        "👩‍👩‍👧|time time|green",
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_random_logits_keep_any_pattern(
    tokenizer: Tokenizer, stops: list[int], pattern: str, temperature: float
) -> None:
    for seed in range(25):
        sampling = Sampling(
            temperature=temperature, top_p=0.9, min_p=0.02, seed=seed, grammar=Grammar("regex", pattern)
        )
        done = Engine(Noise(seed), tokenizer, stops).generate(PROMPT, sampling)
        assert re.fullmatch(pattern, done.text), done.text
        assert done.reason == "stop"


def test_an_end_comes_exactly_where_the_grammar_may_end(tokenizer: Tokenizer, stops: list[int]) -> None:
    # a model that would say nothing but its end
    model = Noise(1, favourites=stops)
    done = Engine(model, tokenizer, stops).generate(
        PROMPT, Sampling(temperature=0, grammar=Grammar("regex", "[ac]{5,9}"))
    )
    assert (len(done.text), done.tokens, done.refused_tokens, done.reason) == (5, 5, 5, "stop")
    # and one that never wants to end
    done = Engine(Noise(1, favourites=[ord("a") - 33]), tokenizer, stops).generate(
        PROMPT, Sampling(temperature=0, grammar=Grammar("regex", "[ac]{5,9}"))
    )
    assert (len(done.text), done.reason) == (9, "stop")


def test_no_pass_is_computed_once_nothing_may_follow(tokenizer: Tokenizer, stops: list[int]) -> None:
    model = Noise(3)
    done = Engine(model, tokenizer, stops).generate(PROMPT, Sampling(grammar=Grammar("regex", "[ac]{4}")))
    assert done.tokens == model.passes == 4
    # the last token allowed ends the grammar: that is an end, not a cut
    done = Engine(model, tokenizer, stops).generate(PROMPT, Sampling(grammar=Grammar("regex", "[ac]{4}"), max_tokens=4))
    assert done.reason == "stop"
    assert Engine(model, tokenizer, stops).generate(
        PROMPT, Sampling(grammar=Grammar("regex", "[ac]{4}"), max_tokens=3)
    ).reason == "length"  # fmt: skip


def test_without_top_p_it_samples_as_if_all_others_were_masked(tokenizer: Tokenizer, stops: list[int]) -> None:
    class Fixed(Noise):
        def forward(self, ids: Sequence[int], start: int, cache: object, rows: int = 1) -> Tensor:
            logits = torch.full((rows, self.vocab), -30.0)
            for letter, share in zip("abc", [0.1, 0.3, 0.6], strict=True):
                logits[:, ord(letter) - 33] = float(torch.tensor(share).log())
            return logits

    told = {"a": 0, "b": 0}
    engine = Engine(Fixed(0), tokenizer, stops)
    for seed in range(1200):
        sampling = Sampling(temperature=1, top_p=1, seed=seed, grammar=Grammar("regex", "[ab]"))
        told[engine.generate(PROMPT, sampling).text] += 1
    assert abs(told["a"] / 1200 - 0.25) < 0.05


def test_a_part_may_depend_on_the_one_before(tokenizer: Tokenizer, stops: list[int]) -> None:
    for seed in range(60):
        text = Engine(Noise(seed), tokenizer, stops).generate(PROMPT, Sampling(seed=seed, grammar=PAIR)).text
        first, second = text.split("\n")
        assert re.fullmatch("[a-f]{1,3}", first)
        assert re.fullmatch("[a-zа-я]{1,4}", second)
        assert first[0] not in second


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_drafting_changes_no_token(tokenizer: Tokenizer, stops: list[int], temperature: float) -> None:
    drafted = accepted = 0
    prompt = PROMPT + tokenizer.encode("\nabcabc abcabc abc abc\n" * 3)
    grammars = [PAIR, Grammar("regex", "(?:[abc]{1,3} ){20,60}"), Grammar("json_schema", '{"type": "array"}')]
    for seed in range(12):
        for grammar in grammars:
            sampling = Sampling(temperature=temperature, top_p=0.9, seed=seed, grammar=grammar, max_tokens=150)
            plain = Engine(Noise(seed), tokenizer, stops).generate(prompt, sampling)
            ahead = Engine(Noise(seed, cheap_batches=True), tokenizer, stops).generate(prompt, sampling)
            assert (ahead.ids, ahead.text, ahead.reason) == (plain.ids, plain.text, plain.reason)
            drafted, accepted = drafted + ahead.drafted_tokens, accepted + ahead.accepted_tokens
    assert 0 < accepted < drafted


def test_a_real_engine_drafts_the_same_tokens(folder: Path) -> None:
    grammar = Grammar("regex", "(?:time |green ){3,30}end")
    plain, ahead = (load_engine(folder, threads=1, speculate=ahead) for ahead in (False, True))
    for seed in range(3):
        sampling = Sampling(temperature=1.0, seed=seed, grammar=grammar, max_tokens=60)
        assert plain.generate(PROMPT, sampling).ids == ahead.generate(PROMPT, sampling).ids


def test_a_grammar_that_allows_everything_changes_nothing(tokenizer: Tokenizer, stops: list[int]) -> None:
    model = Noise(4, favourites=range(94))  # the bytes that are characters by themselves
    for seed in range(5):
        free = Sampling(temperature=1.0, top_p=0.9, seed=seed, max_tokens=40)
        held = replace(free, grammar=Grammar("regex", "(?s:.*)"))
        engine = Engine(model, tokenizer, stops)
        assert engine.generate(PROMPT, held).ids == engine.generate(PROMPT, free).ids


def test_control_tokens_are_never_a_part_of_the_text(tokenizer: Tokenizer, stops: list[int]) -> None:
    vocabulary = tokenizer.vocabulary.get_vocab()
    header = vocabulary["<|start_header_id|>"]
    done = Engine(Noise(2, favourites=[header]), tokenizer, stops).generate(
        PROMPT, Sampling(temperature=0, grammar=Grammar("regex", r"(?s:.){30}"))
    )
    assert header not in done.ids
    assert len(done.text) == 30


@pytest.mark.parametrize("begun", ["a", "ab\n", "abc\nx", "a\nbcd"])
def test_a_continued_reply_keeps_the_form(tokenizer: Tokenizer, stops: list[int], begun: str) -> None:
    for seed in range(20):
        prompt = PROMPT + tokenizer.encode(begun)
        done = Engine(Noise(seed), tokenizer, stops).generate(prompt, Sampling(seed=seed, grammar=PAIR, begun=begun))
        first, second = (begun + done.text).split("\n")
        assert re.fullmatch("[a-f]{1,3}", first)
        assert re.fullmatch("[a-zа-я]{1,4}", second)
        assert first[0] not in second


def test_a_reply_that_is_whole_already_is_not_continued(tokenizer: Tokenizer, stops: list[int]) -> None:
    model = Noise(0)
    done = Engine(model, tokenizer, stops).generate(PROMPT, Sampling(grammar=PAIR, begun="abc\nxyzx"))
    assert (done.text, done.reason, model.passes) == ("", "stop", 0)


def test_where_the_told_text_does_not_fit_the_rest_is_free(tokenizer: Tokenizer, stops: list[int]) -> None:
    sampling = Sampling(seed=1, grammar=PAIR, begun="Once upon a time", max_tokens=20)
    held = Engine(Noise(5), tokenizer, stops).generate(PROMPT, sampling)
    free = Engine(Noise(5), tokenizer, stops).generate(PROMPT, Sampling(seed=1, max_tokens=20))
    assert held.ids == free.ids


def test_json_keeps_its_schema(tokenizer: Tokenizer, stops: list[int]) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "doors": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 3},
            "open": {"type": "boolean"},
        },
        "required": ["name", "doors", "open"],
        "additionalProperties": False,
    }
    for seed in range(40):
        sampling = Sampling(seed=seed, grammar=Grammar("json_schema", json.dumps(schema)), max_tokens=2000)
        found = json.loads(Engine(Noise(seed), tokenizer, stops).generate(PROMPT, sampling).text)
        assert list(found) == ["name", "doors", "open"]
        assert len(found["name"]) <= 12
        assert 1 <= len(found["doors"]) <= 3
        assert set(found["doors"]) <= {"red", "green"}
        assert isinstance(found["open"], bool)


@pytest.mark.parametrize(
    ("grammar", "named"),
    [
        (Grammar("regex", "(a"), r"^The regular expression does not compile \(.*unclosed group\): mend it\.$"),
        (Grammar("lark", "start: door"), r"^The grammar does not compile \(.*unknown name.*\): mend it\.$"),
        (Grammar("json_schema", '{"type": "door"}'), r"^The JSON schema does not compile \(.*door.*\): mend it\.$"),
        (Grammar("json_schema", '{"type": "array", "contains": {}}'), "Unimplemented"),
        (Grammar("json_schema", "[1"), "JSON schema does not compile"),
    ],
)
def test_a_grammar_that_does_not_compile_says_so(
    tokenizer: Tokenizer, stops: list[int], grammar: Grammar, named: str
) -> None:
    engine = Engine(Noise(0), tokenizer, stops)
    with pytest.raises(EngineError, match=named) as caught:
        engine.check_grammar(grammar)
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match=named):
        engine.generate(PROMPT, Sampling(grammar=grammar))


def test_a_model_without_an_end_token_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(EngineError, match="names no end token"):
        Engine(Noise(0), tokenizer, []).check_grammar(PAIR)


def test_gbnf_is_read_as_lark_is(tokenizer: Tokenizer, stops: list[int]) -> None:
    grammar = Grammar("lark", 'root ::= ("left" | "right") " " [0-9]+')
    for seed in range(10):
        done = Engine(Noise(seed), tokenizer, stops).generate(PROMPT, Sampling(seed=seed, grammar=grammar))
        assert re.fullmatch(r"(left|right) [0-9]+", done.text) or done.reason == "length"
