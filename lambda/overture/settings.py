"""Settings: everything the two functions can be told, typed, from environment variables.

`Settings.read()` takes `OVERTURE_<FIELD>` for each field below; what is not set has the default
written here. It is read once, at import of a handler.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from overture.accounting.grid import NoGrid, grid

PREFIX = "OVERTURE_"

#: Front's memory, where a function that is not Front needs it.
FRONT_MB = 512

#: What a story is drawn with where neither a setting nor the model says otherwise.
STORY_SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.05, "repetition_penalty": 1.0}

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what it should be."""


class Settings(Struct, frozen=True):
    """What can be set, with the unit in the name where there is one (`_s`: seconds)."""

    #: The DynamoDB table.
    table: str = "overture"
    #: The storyteller's function name, or the ARN of its alias.
    storyteller: str = "storyteller"
    #: The world's folder, and that of its answer index.
    world: Path = Path("prologue/worlds/emerald_city")
    index: Path = Path("build/worlds/emerald_city/answers")
    #: The model: a bundle's or checkpoint's folder, or `s3://bucket/prefix` of a bundle.
    model: str = "build/models/storyteller"
    #: Origins a browser may come from, separated by commas; `*` is any.
    origins: str = ""

    #: The share of lines without an answer that may get one all the same (false answers).
    answer_budget: Annotated[float, Meta(ge=0, le=1)] = 0.01

    #: Tokens of what the world knows that may go with a line of the visitor's; 0: none is looked up.
    knowledge_tokens: Count = 120

    #: Storytellers that may work at once; 0: as many as the account allows.
    concurrency: Count = 0
    #: Visitors that may wait for a storyteller when all are at work; more hear at once that it is full.
    waiting_limit: Count = 1000
    #: Visits per address and day that the storyteller is woken for; 0: without limit.
    wakes_per_day: Count = 100
    #: Tickets per address and minute; 0: without limit.
    tickets_per_minute: Count = 60
    ticket_s: Seconds = 60

    #: A lease, once confirmed, lives this long unless renewed.
    lease_s: Seconds = 20
    #: A reserved lease outlives the longest wait for a start (`MaximumEventAge`, 60 s).
    reservation_s: Seconds = 75
    #: How long the storyteller waits for the next line before it gives the lease back.
    linger_s: Seconds = 0
    #: How long a reply goes on when nobody is connected.
    grace_s: Seconds = 30
    #: Tokens are gathered this long before they are posted.
    gather_s: Seconds = 0.1
    #: A session is forgotten this many days after its last change.
    session_days: Annotated[float, Meta(gt=0)] = 30

    #: Stretches the reading of the weights to this long: a simulated wait.
    load_s: Seconds = 0
    context: Annotated[int, Meta(ge=256)] = 4096
    #: 0: one thread a core.
    threads: Count = 0
    max_tokens: Annotated[int, Meta(ge=1)] = 320
    #: How a reply is drawn (`sampling`); None: as the model says, else as STORY_SAMPLING.
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    #: 0: no such limit.
    top_k: Count | None = None
    #: Left out is what is less likely than this share of the likeliest token.
    min_p: Annotated[float, Meta(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=1, le=2)] | None = None

    #: The storyteller's memory, in MB: what figures of saved replies are computed with.
    storyteller_mb: Annotated[int, Meta(ge=128)] = 10_240
    #: The region that the functions run in (Lambda's own `AWS_REGION`): its grid.
    region: str = "us-east-1"
    #: This is no Lambda: clients say so beside the figures.
    simulated: bool = False

    @staticmethod
    def read(environment: Mapping[str, str] = os.environ) -> Settings:
        """Reads the settings. Raises `SettingsError` for a value that does not fit its field."""
        given = {
            field: environment[PREFIX + field.upper()]
            for field in Settings.__struct_fields__
            if PREFIX + field.upper() in environment
        }
        if "region" not in given and environment.get("AWS_REGION"):
            given["region"] = environment["AWS_REGION"]
        for field, value in given.items():
            try:
                msgspec.convert({field: value}, Settings, strict=False, dec_hook=_decode)
            except msgspec.ValidationError as error:
                problem = str(error).partition(" - at ")[0].lower()
                raise SettingsError(
                    f"{PREFIX}{field.upper()} is {value!r}: {problem}. Correct it, or unset it for the default."
                ) from None
        settings = msgspec.convert(given, Settings, strict=False, dec_hook=_decode)
        try:
            grid(settings.region)
        except NoGrid as error:
            raise SettingsError(f"{PREFIX}REGION or AWS_REGION is {settings.region!r}: {error}") from None
        return settings

    def sampling(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """How a reply is drawn: by the settings, else by what the model says of itself, else by STORY_SAMPLING."""
        given = {name: value for name in STORY_SAMPLING if (value := getattr(self, name)) is not None}
        return {**STORY_SAMPLING, **model, **given}

    def allows(self, origin: str | None) -> bool:
        """Whether a client from `origin` may come in.

        Only browsers name an origin, and only they need guarding from pages that use their
        visitor's name; a client without one still needs its ticket.
        """
        allowed = {entry.strip().rstrip("/") for entry in self.origins.split(",") if entry.strip()}
        return origin is None or "*" in allowed or origin.rstrip("/") in allowed


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)
