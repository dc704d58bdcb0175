"""What a request of OpenAI's protocol says, checked: a mistake is one sentence and an HTTP status."""

from __future__ import annotations

import json
import math
from typing import Any

from aiohttp import web

from storyteller.engine import Engine

#: What OpenAI's protocol has and this server has not; a value of the second column asks for nothing.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],), "functions": ([],), "tool_choice": ("none", "auto"), "logit_bias": ({},), "suffix": ("",),
    "presence_penalty": (0,), "frequency_penalty": (0,), "best_of": (1,),
    "length_penalty": (1,), "use_beam_search": (False,), "modalities": (["text"],), "audio": (),
}  # fmt: skip


class RequestError(Exception):
    """A request that cannot be answered, in one sentence, and its HTTP status."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


async def read_body(request: web.Request) -> dict[str, Any]:
    # A page of another origin may post a form or plain text without asking; JSON it may not.
    if request.content_type != "application/json":
        raise RequestError(f"The content type is {request.content_type}: send application/json.", 415)
    try:
        body = await request.json()
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RequestError("The body holds half of a surrogate pair: send whole characters.") from None
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON: send an object as OpenAI's protocol has it.") from None
    if not isinstance(body, dict):
        raise RequestError("The body is no object: send one as OpenAI's protocol has it.")
    for name, nothing in _UNSUPPORTED.items():
        if body.get(name) is not None and body[name] not in nothing:
            raise RequestError(f"{name} is not supported: leave it out.")
    return body


def read_messages(body: dict[str, Any]) -> list[dict[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages is missing: give a list of messages with role and content.")
    read = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):  # the newer spelling: parts, of which this model reads text
            texts = [part.get("text") if isinstance(part, dict) else part for part in content]
            content = "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None
        if not isinstance(content, str) or not isinstance(message.get("role"), str):
            raise RequestError("A message lacks its role or its text: give both.")
        read.append({"role": message["role"], "content": content})
    return read


def read_prompts(body: dict[str, Any], engine: Engine) -> list[list[int]]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return [engine.encode(prompt)]
    if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
        return [engine.encode(part) for part in prompt]
    if isinstance(prompt, list) and prompt and _are_tokens(prompt):
        return [prompt]
    if (
        isinstance(prompt, list)
        and prompt
        and all(isinstance(part, list) and part and _are_tokens(part) for part in prompt)
    ):
        return prompt
    raise RequestError("prompt is missing: give a text, token ids, or a list of either.")


def _are_tokens(part: list[Any]) -> bool:
    return all(isinstance(token, int) and not isinstance(token, bool) for token in part)


def read_stops(stop: Any) -> tuple[str, ...]:
    texts = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError(f"stop is {stop!r}: give a text or a list of texts.")
    return tuple(texts)


def read_number(body: dict[str, Any], key: str, default: Any, kind: type) -> Any:
    value = body.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        if key == "logprobs" and value is True:
            return 1
        raise RequestError(f"{key} is {value!r}: give a number.")
    if not math.isfinite(value) or kind(value) != value:
        raise RequestError(f"{key} is {value!r}: give a {'whole ' if kind is int else ''}number.")
    return kind(value)


def read_count(body: dict[str, Any]) -> int:
    count = int(read_number(body, "n", 1, int))
    if not 1 <= count <= 16:
        raise RequestError(f"n is {count}: ask for 1 to 16 answers.")
    return count
