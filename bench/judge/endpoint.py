"""Models behind OpenAI's chat protocol, and answers that were written to a file before."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.judge import JudgeError

if TYPE_CHECKING:
    import openai

Message = Mapping[str, str]

#: Times that a request is sent again after a 408, 409, 429, 5xx or a lost connection; waits grow or heed Retry-After.
RETRIES = 5
#: Seconds for one request: a large judge on a CPU is slow.
PATIENCE_S = 1_800.0

_PLACE = re.compile(r"(?:(?P<model>.+)@)?(?P<url>https?://.+)", re.DOTALL)


class Endpoint:
    """One model of one server. `place` is `MODEL@URL`, or the URL alone of a server that has a single model.

    The key is read from the environment variable `key_variable` and goes nowhere but into requests.
    """

    def __init__(self, place: str, key_variable: str, *, offline: bool = False) -> None:
        found = _PLACE.fullmatch(place)
        if found is None:
            raise JudgeError(f"{place!r} is no endpoint: give MODEL@URL, such as my-model@http://127.0.0.1:8000/v1.")
        self.url, self._key_variable, self._offline = found["url"].rstrip("/"), key_variable, offline
        if urlsplit(self.url).username is not None:
            raise JudgeError(f"An address has a name or a key in it: leave it out and set {key_variable}.")
        self._key = os.environ.get(key_variable, "")
        self._client: openai.OpenAI | None = None if offline else self._connect()
        self.model = found["model"] or self._only_model()

    def _connect(self) -> openai.OpenAI:
        try:
            import openai
        except ImportError:
            raise JudgeError("The package openai is missing: `make setup` installs it.") from None
        return openai.OpenAI(base_url=self.url, api_key=self._key or "none", max_retries=RETRIES, timeout=PATIENCE_S)

    def _only_model(self) -> str:
        if self._offline:
            raise JudgeError(f"Offline nobody can say which model {self.url} has: give MODEL@{self.url}.")
        names: list[str] = [model.id for model in self._ask("models")]
        if len(names) != 1:
            raise JudgeError(f"{self.url} has {len(names)} models: give one of them as MODEL@{self.url}.")
        return names[0]

    def chat(self, messages: Sequence[Message], max_tokens: int, temperature: float | None) -> str:
        """The model's reply, with the seed 0. Raises JudgeError once retrying is of no use."""
        said: dict[str, Any] = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens, "seed": 0}
        if temperature is not None:
            said["temperature"] = temperature
        done = self._ask("chat", said)
        if not done.choices:
            raise JudgeError(f"{self.url} gave no choice in its answer: it must speak OpenAI's chat protocol.")
        return str(done.choices[0].message.content or "")

    def _ask(self, what: str, said: Mapping[str, Any] | None = None) -> Any:
        assert self._client is not None, "an endpoint is asked nothing offline"
        import openai

        try:
            if said is None:
                return list(self._client.models.list())
            return self._client.chat.completions.create(**said)
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            remedy = f"refuses the key: set {self._key_variable} to a key of this server"
        except openai.RateLimitError:
            remedy = "is asked too much (429): lower --parallel, or wait; the same command goes on where it was"
        except openai.InternalServerError as error:
            remedy = f"fails ({error.status_code}): look at its log; the same command goes on where it was"
        except openai.APIConnectionError as error:
            remedy = f"cannot be reached ({error.__cause__ or error}): start it, or correct the address"
        except (openai.APIError, ValueError) as error:
            remedy = f"refuses the {what} request ({self._without_key(str(error))}): correct model, address or option"
        raise JudgeError(f"{self.url} {remedy}.") from None

    def _without_key(self, text: str) -> str:
        return (text.replace(self._key, "***") if self._key else text)[:300]


class AnswerFile:
    """Answers that are there already: a JSON object a line, `{"id": …, "answer": …}`."""

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, path.stem
        self._answers = {row["id"]: row["answer"] for row in read_rows(path, ("id", "answer"))}

    def answer(self, prompt: str) -> str:
        """The answer to the prompt of that id. Raises JudgeError where there is none."""
        if prompt not in self._answers:
            raise JudgeError(f"{self.path} has no answer to the prompt {prompt!r}: add it, or leave the prompt out.")
        return self._answers[prompt]


def read_rows(path: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    """The objects of a JSON-lines file, each with these fields as texts (a number becomes its digits)."""
    wanted = " and ".join(fields)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise JudgeError(f"{path} cannot be read ({error}): give a JSON-lines file with {wanted}.") from None
    rows, ids = [], set[str]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            read = {field: row[field] if isinstance(row[field], str) else str(int(row[field])) for field in fields}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise JudgeError(f"{path}, line {number}: give a JSON object with the texts {wanted}.") from None
        if read["id"] in ids:
            raise JudgeError(f"{path}, line {number}: the id {read['id']!r} comes twice: give each its own.")
        ids.add(read["id"])
        rows.append(read)
    if not rows:
        raise JudgeError(f"{path} is empty: give a JSON-lines file with {wanted}.")
    return rows
