"""What a reply has to get right before its first word, as targets of their own: what is wanted, and where it is told.

An auxiliary head reads them from the middle of the model, while the model trains and never after: among the words of
a reply, most of them drawn by chance, the few that decide are learned slowly. Knows no text.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model_build.demo.city import City

#: A token without a goal.
NO_GOAL = -100
#: Intents that are neither a verb that things know nor a deed.
_OTHERS = (
    "opening", "go", "go_far", "go_unknown", "any_verb", "look_any", "use_any", "take_any", "search", "drop", "give",
    "follow", "part", "quest_ask", "quest_take", "quest_give", "talk", "self", "secret", "where", "what", "topic",
    "ask", "noun", "weather", "time", "name_q", "companion_q", "reason_q", "spectacles_q", "bag", "foreign", "fallback",
)  # fmt: skip


class Goals:
    """The intents and the places of a city, numbered."""

    def __init__(self, city: City) -> None:
        known = {*_OTHERS, *city.phrases["verbs"], *city.phrases["deeds"]}
        self.intents = {intent: number for number, intent in enumerate(sorted(known))}
        self.places = {place: number for number, place in enumerate(city.places)}

    @property
    def sizes(self) -> tuple[int, int]:
        """How many intents and places there are."""
        return len(self.intents), len(self.places)

    def number(self, intent: str, place: str) -> tuple[int, int]:
        """The numbers of a turn's intent and place. Raises KeyError for an intent that nobody listed."""
        return self.intents[intent.removeprefix("early_")], self.places[place]


class Auxiliary(nn.Module):
    """A linear head for each goal."""

    def __init__(self, width: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, states: Tensor, goals: Tensor) -> Tensor:
        """The summed mean cross entropy for states [batch, tokens, width] and goals [batch, heads, tokens]."""
        total = states.new_zeros(())
        for number, head in enumerate(self.heads):
            asked = goals[:, number] != NO_GOAL
            if asked.any():
                found = F.rms_norm(states[asked], states.shape[-1:])
                total = total + F.cross_entropy(head(found).float(), goals[:, number][asked])
        return total
