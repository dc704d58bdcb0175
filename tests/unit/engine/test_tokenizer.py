"""Chat prompts and incremental text."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Vocabulary
from tokenizers import decoders, models, normalizers

from storyteller.engine import EngineError, Tokenizer
from storyteller.engine.text.tokenizer import TextStream
from tests.tiny_llama import BEGIN, CHAT_TEMPLATE, END_TURN, write_tiny_llama

with warnings.catch_warnings():  # theirs, about one another
    warnings.simplefilter("ignore")
    from transformers import PreTrainedTokenizerFast

MESSAGES = [
    {"role": "system", "content": "You tell a story. "},
    {"role": "user", "content": "Knock on the gate 🚪"},
    {"role": "assistant", "content": "It opens."},
    {"role": "user", "content": "Go in"},
]


@pytest.mark.parametrize("template_file", [False, True])
def test_a_chat_prompt_equals_that_of_transformers(tmp_path: Path, template_file: bool) -> None:
    folder = write_tiny_llama(tmp_path, template_file=template_file)
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = theirs.apply_chat_template(
        MESSAGES, chat_template=CHAT_TEMPLATE, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert Tokenizer(folder).encode_chat(MESSAGES) == expected


def test_go_on_continues_the_last_message_without_ending_it(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_tiny_llama(tmp_path))
    partial = [*MESSAGES, {"role": "assistant", "content": "You walk to the"}]
    ids = tokenizer.encode_chat(partial, go_on=True)
    before = tokenizer.encode_chat(MESSAGES)
    assert ids[: len(before)] == before
    assert tokenizer.decode(ids[len(before) :]) == "You walk to the"
    with pytest.raises(EngineError, match="assistant's last message"):
        tokenizer.encode_chat(MESSAGES, go_on=True)


def test_a_vocabulary_of_an_absurd_size_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_llama(tmp_path)
    monkeypatch.setattr("storyteller.engine.text.tokenizer.Vocabulary", None)
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)  # sparse: it takes no room
    with pytest.raises(EngineError, match=r"tokenizer.json is over 64 MB, .*: download it again"):
        Tokenizer(folder)


@pytest.mark.parametrize("typed", [END_TURN, f"hello{END_TURN}{BEGIN}", f"{END_TURN} then ", "\ue000"])
def test_a_control_token_that_somebody_types_stays_text(tmp_path: Path, typed: str) -> None:
    tokenizer = Tokenizer(write_tiny_llama(tmp_path))
    controls = {token for token, one in tokenizer.vocabulary.get_added_tokens_decoder().items() if one.special}
    for said, go_on in (
        ([*MESSAGES[:-1], {"role": "user", "content": typed}], False),
        ([*MESSAGES, {"role": "assistant", "content": typed}], True),
    ):
        plain = [*said[:-1], {**said[-1], "content": "plain"}]
        ids = tokenizer.encode_chat(said, go_on=go_on)
        assert [one for one in ids if one in controls] == [
            one for one in tokenizer.encode_chat(plain, go_on=go_on) if one in controls
        ]
        if typed != "\ue000":
            assert typed.strip() in tokenizer.decode(ids)


def test_a_template_may_refuse(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, template="{{ raise_exception('roles must alternate') }}")
    with pytest.raises(EngineError, match="refuses these messages: roles must alternate"):
        Tokenizer(folder).encode_chat(MESSAGES)


def test_a_template_cannot_reach_the_system(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, template="{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(EngineError, match="refuses these messages"):
        Tokenizer(folder).encode_chat(MESSAGES)


HOSTILE = {
    "loop": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "computes for longer than",
    ),
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "a text too long",
    ),
    "adding": (
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "a text too long",
    ),
    "times": ("{{ 'a' * 2000000000 }}", "a text too long"),
    "filter": ("{{ 'a'|center(2000000000) }}", "a text too long"),
    "method": ("{{ 'a'.ljust(2000000000) }}", "a text too long"),
    "percent": ("{{ '%2000000000d' % 1 }}", "a text too long"),
    "format filter": ("{{ '%2000000000d'|format(1) }}", "a text too long"),
    "format method": ("{{ '{:>2000000000}'.format(1) }}", "a text too long"),
    "power": ("{{ 9 ** 99999 }}", "numbers too large"),
    "output": (
        "{% for i in range(99999) %}" + "{{ 'a' }}" + "a" * 99 + "{% endfor %}",
        "writes more|computes for",
    ),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    "missing key": ("{{ messages[0]['no'].x }}", "has no attribute 'no'"),
    "types": ("{{ 1 + 'a' }}", "unsupported operand"),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_template_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: str) -> None:
    monkeypatch.setattr("storyteller.engine.text.chat_template.SECONDS", 1.0)
    source, sentence = HOSTILE[trick]
    tokenizer = Tokenizer(write_tiny_llama(tmp_path, template=source))
    with pytest.raises(EngineError, match=sentence) as raised:
        tokenizer.encode_chat(MESSAGES)
    assert "\n" not in str(raised.value)


def test_a_template_may_use_what_templates_use(tmp_path: Path) -> None:
    source = "{{ messages|map(attribute='role')|join('+') }} {{ '%s-%d' % ('a', 3) }} {{ '{}'.format(2 ** 3 * 2) }}"
    tokenizer = Tokenizer(write_tiny_llama(tmp_path, template=source))
    assert tokenizer.decode(tokenizer.encode_chat([{"role": "user", "content": "x"}])) == "user a-3 16"


def test_a_broken_template_is_told(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, template="{% for %}")
    with pytest.raises(EngineError, match=r"chat template of .* is broken"):
        Tokenizer(folder)


def test_a_dated_template_keeps_its_own_day(tmp_path: Path) -> None:
    dated = "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}26 Jul 2024{% endif %}"
    tokenizer = Tokenizer(write_tiny_llama(tmp_path, template=dated))
    assert tokenizer.decode(tokenizer.encode_chat(MESSAGES)) == "26 Jul 2024"


def test_named_templates_give_the_default_one(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, template=None)
    named = '{"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]}'
    (folder / "tokenizer_config.json").write_text(named)
    tokenizer = Tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode_chat(MESSAGES)) == "y"


def test_special_tokens_are_ids_and_not_spelled_out(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_tiny_llama(tmp_path))
    ids = tokenizer.encode_chat(MESSAGES)
    assert ids[0] == tokenizer.vocabulary.token_to_id(BEGIN)
    assert [tokenizer.vocabulary.id_to_token(token) for token in ids].count(END_TURN) == len(MESSAGES)


def test_a_long_stream_is_the_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_tiny_llama(tmp_path, words=["the gate", "😀"]))
    text = "the gate 😀 näher … 你好, the gate! " * 30
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in tokenizer.encode(text, special=False)]
    assert "".join(pieces) + stream.flush() == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def sentencepiece(folder: Path) -> Tokenizer:
    """A vocabulary in Llama 2's manner: words begin with a visible space, other characters fall to bytes."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁You", "▁walk", "▁to", "a"]
    vocabulary = Vocabulary(
        models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    vocabulary.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    vocabulary.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    vocabulary.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def test_byte_tokens_make_whole_characters_and_words_keep_their_space(tmp_path: Path) -> None:
    tokenizer = sentencepiece(tmp_path)
    vocabulary = tokenizer.vocabulary.get_vocab()
    you, walk, to = (vocabulary[word] for word in ["▁You", "▁walk", "▁to"])
    bytes_of = [1 + byte for byte in "你好".encode()]
    fresh = TextStream(tokenizer)
    assert [fresh.push(token) for token in [you, walk, *bytes_of, to]] == [
        "You", " walk", "", "", "你", "", "", "好", " to",
    ]  # fmt: skip
    continued = TextStream(tokenizer, before=[you])
    assert [continued.push(token) for token in [walk, to]] == [" walk", " to"]
