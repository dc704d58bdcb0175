"""Conditions: when a beat, or one of its lines, may be told.

A condition is a mapping whose entries must all hold, or a list of such mappings of which one must:

    known: name                   the visitor has told it (one key or a list: all of them)
    unknown: companion            not told yet
    is: {spectacles: [red, blue]} the value is one of these, upper and lower case alike
    says: {reason: [home, lost]}  the value has one of these words in it
    told: [lamps, market]         all of these beats have been told
    untold: lamps                 none of these has
    visits: {lamps: 2}            told at least so many times
    awake: true                   the storyteller is awake (or, `false`, is not)

Knows a moment of the play, not how the play came to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prologue.files import Entry, WorldError


@dataclass(frozen=True)
class Moment:
    """What a condition is asked about: the profile without empty values, how often each beat was told."""

    profile: Mapping[str, str]
    visits: Mapping[str, int]
    awake: bool


@dataclass(frozen=True)
class Condition:
    """One mapping of the schema above."""

    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    equal: Mapping[str, frozenset[str]] = field(default_factory=dict)
    says: Mapping[str, frozenset[str]] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    visits: Mapping[str, int] = field(default_factory=dict)
    awake: bool | None = None

    def holds(self, now: Moment) -> bool:
        """Whether every entry holds."""
        return (
            all(key in now.profile for key in self.known)
            and not any(key in now.profile for key in self.unknown)
            and all(now.profile.get(key, "").casefold() in values for key, values in self.equal.items())
            and all(words & _words(now.profile.get(key, "")) for key, words in self.says.items())
            and all(now.visits.get(beat, 0) for beat in self.told)
            and not any(now.visits.get(beat, 0) for beat in self.untold)
            and all(now.visits.get(beat, 0) >= least for beat, least in self.visits.items())
            and self.awake in (None, now.awake)
        )

    def profile_keys(self) -> set[str]:
        """The profile keys it names."""
        return {*self.known, *self.unknown, *self.equal, *self.says}

    def beats(self) -> set[str]:
        """The beats it names."""
        return {*self.told, *self.untold, *self.visits}


@dataclass(frozen=True)
class When:
    """Conditions of which one must hold; none at all always holds."""

    any: tuple[Condition, ...] = ()

    def holds(self, now: Moment) -> bool:
        """Whether it holds at this moment."""
        return not self.any or any(condition.holds(now) for condition in self.any)

    def profile_keys(self) -> set[str]:
        """The profile keys it names."""
        return {key for condition in self.any for key in condition.profile_keys()}

    def beats(self) -> set[str]:
        """The beats it names."""
        return {beat for condition in self.any for beat in condition.beats()}


#: No condition.
ALWAYS = When()


def read_when(raw: Any, where: str) -> When:
    """Reads `when` of a file. Raises `WorldError`; that the names exist is checked by whoever knows them."""
    if raw is None:
        return ALWAYS
    if isinstance(raw, list) and not raw:
        raise WorldError(f"{where}: `when` is an empty list; give a condition or leave it out.")
    return When(tuple(_condition(item, f"{where}, when") for item in (raw if isinstance(raw, list) else [raw])))


def _condition(raw: Any, where: str) -> Condition:
    entry = Entry(raw, where)
    condition = Condition(
        known=entry.texts("known"),
        unknown=entry.texts("unknown"),
        equal=_choices(entry, "is"),
        says=_choices(entry, "says"),
        told=entry.texts("told"),
        untold=entry.texts("untold"),
        visits=_counts(entry, "visits"),
        awake=entry.flag("awake") if entry.has("awake") else None,
    )
    entry.take("awake")
    entry.done()
    return condition


def _choices(entry: Entry, key: str) -> dict[str, frozenset[str]]:
    raw = entry.take(key)
    if raw is None:
        return {}
    inner = Entry(raw, f"{entry.where}, {key}")
    return {str(name): frozenset(text.casefold() for text in inner.texts(name)) for name in raw}


def _counts(entry: Entry, key: str) -> dict[str, int]:
    raw = entry.take(key)
    if raw is None:
        return {}
    inner = Entry(raw, f"{entry.where}, {key}")
    return {str(name): int(inner.number(name, 1, 1000)) for name in raw}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
