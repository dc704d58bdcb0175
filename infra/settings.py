"""The stack's settings (`-c name=value`): types, checks and documentation in one place.

`docs/settings.md` is written from this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

#: The cost allocation tag on everything of the stack; `Settings.tag` is its value.
TAG = "overture"
#: The image tag that `make deploy` moves to the image it has deployed.
LIVE = "live"

#: Lambda's most memory, and the most that accounts start with.
MOST_MEMORY_MB, NEW_ACCOUNT_MEMORY_MB = 10_240, 3_008
#: What CloudWatch Logs offers as retention that is worth offering here, in days.
RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365)


class SettingError(Exception):
    """A setting that cannot be used: one sentence with the remedy."""


class _Kind(NamedTuple):
    """How a setting is converted (ValueError refuses it), and its allowed values in words."""

    convert: Callable[[str], Any]
    says: str


def _choice(*values: str) -> _Kind:
    def convert(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return _Kind(convert, " or ".join(f"`{value}`" for value in values))


def _between(low: int, high: int, unit: str = "") -> _Kind:
    def convert(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return _Kind(convert, f"a whole number from {low} to {high}{unit}")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _matching(pattern: str, says: str) -> _Kind:
    def convert(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError
        return text

    return _Kind(convert, says)


def _days(text: str) -> int:
    if int(text) not in RETENTION_DAYS:
        raise ValueError
    return int(text)


def _setting(default: Any, kind: _Kind, about: str) -> Any:
    return field(default=default, metadata={"kind": kind, "about": about})


_ORIGIN = r"https?://[a-z0-9.-]+(:\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the stack, checked on its own; `Settings.read` checks them together too."""

    stack: str = _setting(
        "Overture",
        _matching(r"[A-Za-z][A-Za-z0-9-]{0,40}", "letters, digits and hyphens, at most 41"),
        "The stack's name; another name makes another stack beside the first.",
    )
    region: str = _setting(
        "us-east-1",
        _matching(r"[a-z]{2}(-[a-z]+)+-\d", "a region such as `eu-north-1`"),
        "Where it all runs. Without it: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's region, else `us-east-1`. "
        "It also decides the carbon of the grid that Backstage shows.",
    )
    bundle: str = _setting(
        "build/models/storyteller",
        _Kind(str, "a folder, or `s3://bucket/prefix` with `build=cloud` or `weights=s3`"),
        "The storyteller's model: a bundle, or a Hugging Face Llama folder. On S3 a new model takes a new "
        "prefix: the address tells CloudFormation that something has changed.",
    )
    weights: Literal["image", "s3"] = _setting(
        "image",
        _choice("image", "s3"),
        "Where the storyteller reads its model from: its image, or S3, so that new code does not push the model again "
        "(a bundle only; see [operations](operations.md#weights-on-s3)).",
    )
    world: str = _setting(
        "prologue/worlds/emerald_city",
        _Kind(str, "a folder with a `world.yaml`"),
        "The world to play. Its answer index is expected in `build/worlds/<name>/answers`.",
    )
    start: Literal["cold", "snapstart"] = _setting(
        "cold",
        _choice("cold", "snapstart"),
        "How the storyteller starts: loading its weights each time, or from a snapshot (faster, and costs while idle: "
        "see [costs](costs.md)).",
    )
    memory: int = _setting(
        0,
        _between(512, MOST_MEMORY_MB, " MB"),
        "The storyteller's memory; CPU comes in proportion. Without it, what fits the model on this machine, or "
        f"{MOST_MEMORY_MB}. New accounts are capped at {NEW_ACCOUNT_MEMORY_MB}.",
    )
    visits_per_day: int = _setting(
        10,
        _between(0, 1_000_000),
        "Visits a day that you expect: `make deploy` compares the two starts by it. It changes nothing in the stack.",
    )
    concurrency: int = _setting(
        2,
        _between(0, 1000),
        "Storytellers at work at once, reserved from the account's concurrency; further visitors queue. "
        "`0` reserves none and sets no limit of its own: for new accounts, which may reserve none.",
    )
    linger: int = _setting(
        0,
        _between(0, 600, " seconds"),
        "Seconds that a storyteller waits for the next line before it ends (the wait is billed).",
    )
    answer_budget: float = _setting(
        0.01,
        _Kind(_share, "a share from 0 to 1"),
        "Of the lines that have no written answer, the share that may get one anyway. "
        "A smaller share makes fewer mistakes and answers less.",
    )
    knowledge_tokens: int = _setting(
        120,
        _between(0, 1000),
        "Tokens of the world's facts that may go with a visitor's line to the storyteller; `0` looks nothing up.",
    )
    auth: Literal["ticket", "cognito"] = _setting(
        "ticket",
        _choice("ticket", "cognito"),
        "Who gets a ticket: every visitor of the page, or only members who signed in to the stack's Cognito user pool.",
    )
    domain: str = _setting(
        "",
        _matching(r"([a-z0-9-]+\.)+[a-z]{2,}", "a domain name such as `play.example.org`"),
        "The page's own domain; point its DNS at the `Distribution` output. Needs `certificate`.",
    )
    certificate: str = _setting(
        "",
        _matching(r"arn:aws:acm:us-east-1:\d{12}:certificate/[0-9a-f-]+", "the ARN of an ACM certificate in us-east-1"),
        "The certificate for `domain`; CloudFront takes only those of us-east-1.",
    )
    origins: str = _setting(
        "",
        _matching(rf"{_ORIGIN}(,{_ORIGIN})*", "origins such as `https://example.org`, separated by commas"),
        "Further pages that may connect, beside the stack's own.",
    )
    image: str = _setting(
        "",
        _matching(r"sha256:[0-9a-f]{64}|none", "a digest `sha256:…` in the stack's repository, or `none`"),
        "An image already pushed to the stack's own repository. `none` makes the repository and nothing else yet "
        "(`make deploy` begins with it).",
    )
    build: Literal["local", "cloud"] = _setting(
        "local",
        _choice("local", "cloud"),
        "Where the image is built: by Docker here, or by a CodeBuild project on arm64.",
    )
    email: str = _setting(
        "", _matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"), "Gets alarms and the budget's warnings."
    )
    budget: int = _setting(
        20, _between(1, 100_000, " US dollars"), "Dollars a month at which AWS Budgets warns `email`. It only warns."
    )
    ceiling: int = _setting(
        150_000,
        _between(100, 100_000_000, " GB-seconds"),
        "GB-seconds in any 24 hours at which the kill switch turns the storyteller off ($2 for the default).",
    )
    tickets_per_second: int = _setting(
        20,
        _between(1, 10_000),
        "Tickets a second over all visitors; the page of a visitor above that tries again.",
    )
    frames_per_second: int = _setting(
        100,
        _between(1, 10_000),
        "Frames a second over all connections. 100 are some 500 visitors, each with a line every five seconds.",
    )
    waiting_limit: int = _setting(
        1000,
        _between(0, 100_000),
        "Visitors that may wait for a storyteller when all are at work; more hear at once that the stack is full.",
    )
    api_log_role: Literal["stack", "account"] = _setting(
        "stack",
        _choice("stack", "account"),
        "Whose role API Gateway writes logs with: one of the stack's, or the one that the account has. "
        "`make deploy` looks and chooses.",
    )
    wakes_per_day: int = _setting(
        100,
        _between(0, 1_000_000),
        "Visits from one address in a day that may wake the storyteller; `0` is without limit.",
    )
    retention: int = _setting(
        14,
        _Kind(_days, "one of " + ", ".join(map(str, RETENTION_DAYS)) + " days"),
        "Days that logs are kept.",
    )

    @staticmethod
    def read(given: Mapping[str, str], *, region: str | None = None) -> Settings:
        """Reads settings from context values. `region` is used where none is given.

        Raises `SettingError` for a value that cannot be used, alone or beside the others.
        """
        values: dict[str, Any] = {"region": region} if region else {}
        for one in fields(Settings):
            if one.name not in given or given[one.name] == "":
                continue
            kind: _Kind = one.metadata["kind"]
            text = str(given[one.name])
            try:
                values[one.name] = kind.convert(text)
            except ValueError:
                raise SettingError(_refusal(one.name, text, kind)) from None
        settings = Settings(**values)
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        if self.domain and not self.certificate:
            raise SettingError(
                f"domain={self.domain} needs a certificate: add -c certificate=ARN of one in us-east-1 (AWS ACM)."
            )
        if self.certificate and not self.domain:
            raise SettingError("certificate is set without a domain: add -c domain=NAME, or leave the certificate out.")
        if self.auth == "cognito" and re.search("aws|amazon|cognito", self.stack.lower()):
            raise SettingError(
                f"stack={self.stack} cannot have auth=cognito: its pages' address would have the stack's name in it, "
                "and AWS allows none with aws, amazon or cognito; choose another -c stack=NAME."
            )
        if self.image and self.build == "cloud":
            raise SettingError("image and build=cloud exclude each other: the one is built already; leave one out.")
        if self.bundle.startswith("s3://"):
            if self.weights == "image" and self.build != "cloud" and not self.image:
                raise SettingError(
                    f"bundle={self.bundle} is read by CodeBuild only: add -c build=cloud, or -c weights=s3 for the "
                    "storyteller to read it itself, or name a folder."
                )
            if self.weights == "s3" and re.fullmatch(r"s3://[^/]+/.*[^/].*", self.bundle) is None:
                raise SettingError(f"bundle={self.bundle} has no prefix: write it as s3://bucket/prefix.")

    @property
    def memory_mb(self) -> int:
        """The storyteller's memory, once it is fitted to the model (`infra.deploy.checks.fit_memory`)."""
        return self.memory or MOST_MEMORY_MB

    @property
    def tag(self) -> str:
        """The stack's tag: one name in two regions makes two stacks, and AWS adds up costs over all regions."""
        return f"{self.stack}-{self.region}"

    @property
    def bundle_folder(self) -> Path | None:
        """The model's folder on this machine, or None where it is on S3."""
        return None if self.bundle.startswith("s3://") else ROOT / self.bundle

    @property
    def weights_stack(self) -> str | None:
        """The name of the stack that has the bucket of the weights; None where there is none of our own."""
        return name_weights_stack(self.stack) if self.weights == "s3" and self.bundle_folder else None

    @property
    def world_folder(self) -> Path:
        """The world's folder on this machine."""
        return ROOT / self.world


def name_weights_stack(stack: str) -> str:
    """The name that the stack of a stack's weights has, where there is one."""
    return f"{stack}-Weights"


def _refusal(name: str, text: str, kind: _Kind) -> str:
    says = f"{name}={text} cannot be used: {name} is {kind.says.replace('`', '')}"
    if name == "memory":
        says += f" (an account capped at {NEW_ACCOUNT_MEMORY_MB} takes -c memory={NEW_ACCOUNT_MEMORY_MB})"
    return f"{says}."


def refuse_unknown(given: Mapping[str, str]) -> None:
    """Raises `SettingError` for a name that is no setting. CDK's own context has a colon in its names."""
    known = [one.name for one in fields(Settings)]
    for name in given:
        if name not in known and ":" not in name and not name.startswith("@aws"):
            raise SettingError(f"{name} is not a setting; there are: {', '.join(known)}.")


def table() -> str:
    """The settings as a Markdown table."""
    lines = ["| setting | default | may be | what it does |", "|---|---|---|---|"]
    for one in fields(Settings):
        default = "none" if one.default == "" else "fitted" if one.name == "memory" else f"`{one.default}`"
        lines.append(f"| `{one.name}` | {default} | {one.metadata['kind'].says} | {one.metadata['about']} |")
    return "\n".join(lines) + "\n"
