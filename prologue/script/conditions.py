"""Conditions: when a beat, or one of its lines, may be told.

A condition is a mapping whose entries must all hold, or a list of such mappings of which one must:

    known: name                   the visitor has told it (one key or a list: all of them)
    unknown: companion            not told yet
    is: {spectacles: [red, blue]} the value is one of these, upper and lower case alike
    says: {reason: [home, lost]}  the value has one of these words in it
    told: [lamps, market]         all of these beats have been told
    untold: lamps                 none of these has
    visits: {lamps: 2}            told at least this many times
    awake: true                   the storyteller is awake (or, `false`, is not)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from prologue.yaml_file import OneOrMore, as_tuple


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


class ConditionEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A condition as a file has it."""

    known: OneOrMore = ()
    unknown: OneOrMore = ()
    equal: dict[str, OneOrMore] = msgspec.field(name="is", default_factory=dict)
    says: dict[str, OneOrMore] = {}
    told: OneOrMore = ()
    untold: OneOrMore = ()
    visits: dict[str, Annotated[int, msgspec.Meta(ge=1, le=1000)]] = {}
    awake: bool | None = None


#: `when` of a file: a condition, or a list of which one must hold.
Conditions = ConditionEntry | Annotated[list[ConditionEntry], msgspec.Meta(min_length=1)]


def read_when(raw: ConditionEntry | list[ConditionEntry] | None) -> When:
    """`when` of a file; that its names exist is checked by the reader of the script."""
    if raw is None:
        return ALWAYS
    return When(tuple(_condition(entry) for entry in (raw if isinstance(raw, list) else [raw])))


def _condition(entry: ConditionEntry) -> Condition:
    return Condition(
        known=as_tuple(entry.known),
        unknown=as_tuple(entry.unknown),
        equal={key: _folded(texts) for key, texts in entry.equal.items()},
        says={key: _folded(texts) for key, texts in entry.says.items()},
        told=as_tuple(entry.told),
        untold=as_tuple(entry.untold),
        visits=entry.visits,
        awake=entry.awake,
    )


def _folded(texts: OneOrMore) -> frozenset[str]:
    return frozenset(text.casefold() for text in as_tuple(texts))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
