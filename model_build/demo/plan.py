"""The plan: two special tokens that the model says before a reply's text, what is wanted and where it is told.

A reply that begins with its plan has decided before its first word, and what follows is bound to that: among the words
of a reply, most of them drawn by chance, the few that decide would be learned slowly. The storyteller drops special
tokens, so no visitor sees a plan and no later prompt holds one. Knows no text.
"""

from __future__ import annotations

from model_build.demo.city import City

#: How many special tokens a vocabulary has for plans; those not used yet are reserved.
ROOM = 128
#: Intents that are neither a verb that things know nor a deed.
_OTHERS = (
    "opening", "go", "go_far", "go_unknown", "any_verb", "look_any", "use_any", "take_any", "search", "drop", "give",
    "follow", "part", "quest_ask", "quest_take", "quest_give", "talk", "self", "secret", "where", "what", "topic",
    "ask", "noun", "weather", "time", "name_q", "companion_q", "reason_q", "spectacles_q", "bag", "foreign", "fallback",
)  # fmt: skip
#: Of those, the ones that are answered alike whatever the line was, and the deeds that are not.
_FREE = (
    "talk", "self", "secret", "where", "what", "weather", "time", "name_q", "companion_q", "reason_q", "spectacles_q",
    "foreign",
)  # fmt: skip
_BOUND = ("give", "follow", "leave_behind", "search", "take_any")
#: Questions whose answer depends on what was settled before: nobody along, a guide along, nothing in the pockets, an
#: errand on already. They came after the others, in this order, and took the first reserved tokens.
_SETTLED = ("alone_q", "guide_companion_q", "guide_alone_q", "bag_none", "quest_on")


class Plans:
    """The intents and the places of a city, each with its token; `free` are the intents whose answer needs nothing of
    the line but its wish, unless it repeats a word of it."""

    def __init__(self, city: City) -> None:
        known = {*_OTHERS, *city.phrases["verbs"], *city.phrases["deeds"]}
        self.intents = {intent: f"<|wish:{intent}|>" for intent in (*sorted(known), *_SETTLED)}
        self.places = {place: f"<|at:{place}|>" for place in city.places}
        self.free = {*_FREE, *_SETTLED, *city.phrases["deeds"]} - {*_BOUND}

    @property
    def tokens(self) -> list[str]:
        """Every special token of a plan and those reserved, `ROOM` in all. Raises ValueError when there are more."""
        wishes = list(self.intents.values())
        first = len(wishes) - len(_SETTLED)
        used = [*wishes[:first], *self.places.values(), *wishes[first:]]
        if len(used) > ROOM:
            raise ValueError(f"{len(used)} intents and places do not fit into {ROOM} tokens: raise `plan.ROOM`.")
        return used + [f"<|reserved:{number}|>" for number in range(ROOM - len(used))]

    def plan(self, intent: str, place: str) -> tuple[str, str]:
        """The tokens of a turn. Raises KeyError for an intent that nobody listed."""
        return self.intents[intent.removeprefix("early_")], self.places[place]
