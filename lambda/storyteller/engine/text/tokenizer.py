"""Text to token ids and back, and chat messages to a prompt, without torch.

The vocabulary comes from `tokenizer.json`, the chat template from `chat_template.jinja` or
`tokenizer_config.json`, and both are used as Hugging Face's own libraries use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Vocabulary

from ..errors import EngineError
from ..files.config import read_json
from .chat_template import ChatTemplate, ChatTemplateError

_HALF = "\N{REPLACEMENT CHARACTER}"
#: Stands around what only looks like a control token while a prompt is rendered. From Unicode's private use area.
_SHIELD = "\ue000"
#: The library takes some forty times a file's size to read it. Llama 3's 128,000 tokens are 9 MB.
_LARGEST_BYTES = 64 << 20
_SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token")


class Tokenizer:
    """A checkpoint's tokenizer and chat template. Raises EngineError when the folder lacks them."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not path.exists():
            raise EngineError(f"{path} is missing: download the checkpoint with its tokenizer.json.")
        if path.stat().st_size > _LARGEST_BYTES:
            raise EngineError(f"{path} is over {_LARGEST_BYTES >> 20} MB, more than any vocabulary: download it again.")
        try:
            self.vocabulary: Vocabulary = Vocabulary.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise EngineError(f"{path} cannot be read ({error}): download it again.") from None
        settings_path = folder / "tokenizer_config.json"
        settings = read_json(settings_path, "") if settings_path.exists() else {}
        self.specials = {name: _content(settings.get(name)) for name in _SPECIALS}
        controls = [token.content for token in self.vocabulary.get_added_tokens_decoder().values() if token.special]
        self._controls = re.compile("|".join(map(re.escape, sorted(controls, key=len, reverse=True))) or r"(?!)")
        self._folder = folder
        self._source = _template_source(folder, settings)
        try:
            self._template = ChatTemplate(self._source) if self._source else None
        except ChatTemplateError as error:
            raise EngineError(f"The chat template of {folder} is broken ({error}): download it again.") from None

    @cached_property
    def size(self) -> int:
        """One more than the greatest id."""
        size = self.vocabulary.get_vocab_size()
        while self.vocabulary.id_to_token(size) is not None:  # ids with gaps
            size += 1
        return size

    @property
    def has_chat(self) -> bool:
        """Whether the folder brings a chat template."""
        return self._template is not None

    def eos_id(self) -> int | None:
        """The id of the tokenizer's own end-of-sequence token, if it names one."""
        eos = self.specials["eos_token"]
        return self.vocabulary.token_to_id(eos) if eos else None

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a plain text; `special` adds the beginning token as the tokenizer itself does."""
        ids: list[int] = self.vocabulary.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self.vocabulary.decode(list(ids), skip_special_tokens=True))

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, go_on: bool = False) -> list[int]:
        """The prompt for `messages` (role and content), ready for the assistant's reply.

        With `go_on` the last message is the assistant's own and is continued just where it ends.
        A control token written in a message (`<|im_end|>`) stays the text it is.
        Raises EngineError when there is no template, when it refuses the messages, or when `go_on` is
        asked for and the last message is not the assistant's.
        """
        if self._template is None:
            raise EngineError(
                f"{self._folder} has no chat template: use an Instruct checkpoint, or add its chat_template.jinja."
            )
        tail = ""
        if go_on:
            if not messages or messages[-1]["role"] != "assistant":
                raise EngineError("go_on continues the assistant's last message: end the messages with one.")
            messages, tail = messages[:-1], messages[-1]["content"]
        specials = {name: token for name, token in self.specials.items() if token}
        shielded = [{**message, "content": self._shield(message["content"])} for message in messages]
        try:
            prompt = self._template.render(shielded, specials)
        except ChatTemplateError as error:
            raise EngineError(f"The chat template of {self._folder} refuses these messages: {error}") from None
        return self._encode_shielded(prompt + self._shield(tail))

    def _shield(self, text: str) -> str:
        """Marks each control token that stands in a message as plain text, by a character around it."""
        return self._controls.sub(lambda match: _SHIELD + match[0] + _SHIELD, text.replace(_SHIELD, ""))

    def _encode_shielded(self, text: str) -> list[int]:
        """The ids of a rendered prompt. Control tokens are the template's own alone, never a message's."""
        ids: list[int] = []
        # The template writes the beginning token itself.
        for place, part in enumerate(text.split(_SHIELD)):
            shielded = place % 2 == 1
            ids += (
                self._plain.encode(part, add_special_tokens=False).ids if shielded else self.encode(part, special=False)
            )
        return ids

    @cached_property
    def _plain(self) -> Vocabulary:
        """The same vocabulary, which takes control tokens apart as it does any text."""
        plain = Vocabulary.from_str(self.vocabulary.to_str())
        plain.encode_special_tokens = True
        return plain


class TextStream:
    """Turns ids into text as they come, never giving half a character away.

    A token may hold a part of a character's bytes. What cannot yet be read is held back until the
    tokens that complete it have come. `before` are the ids ahead of the reply: some tokenizers
    write a word's leading space only when something precedes it.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._window = list(before[-8:])
        self._generated = tokenizer.decode(self._window)

    def push(self, token: int) -> str:
        """The text that this token completes; often empty, sometimes several characters."""
        self._window.append(token)
        text = self._tokenizer.decode(self._window)
        whole = text.rstrip(_HALF)
        fresh = whole[len(self._generated) :]
        if fresh:
            self._generated = whole
        if whole == text and len(self._window) > 24:
            self._window = self._window[-8:]
            self._generated = self._tokenizer.decode(self._window)
        return fresh

    def flush(self) -> str:
        """What was held back; bytes that never became a character come out as U+FFFD."""
        text = self._tokenizer.decode(self._window)
        fresh, self._generated = text[len(self._generated) :], text
        return fresh


def _template_source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    own = folder / "chat_template.jinja"
    if own.exists():
        return own.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) and template else None


def _content(token: Any) -> str | None:
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None
