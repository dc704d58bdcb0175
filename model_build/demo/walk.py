"""A walk through the city: one simulated visitor, turn by turn.

The walk holds the state (where the visitor is, what was lost and found, what has been said) and answers
each line from it, so the choices a reply offers are always moves that exist. What was copied from the
visitor's own words lies between `MARK_ON` and `MARK_OFF`, and what is told beside the point between `ASIDE_ON` and
`ASIDE_OFF`, so that training can weigh them; `plain` takes the marks away. Knows nothing of tokens or prompts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

from model_build.demo import facts, words
from model_build.demo.city import City, Person, Place
from model_build.demo.flavour import STREET
from model_build.demo.retell import because, refer

MARK_ON, MARK_OFF = "\ue000", "\ue001"
ASIDE_ON, ASIDE_OFF = "\ue002", "\ue003"
_MARKS = re.compile(f"[{MARK_ON}{MARK_OFF}{ASIDE_ON}{ASIDE_OFF}]")
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\b[DM][rs]\.)(?<!\bMrs\.)[\"”]?(?=\s+[\"“A-Z]|\s*$)")


def plain(text: str) -> str:
    """The text without its marks."""
    return _MARKS.sub("", text)


def mark(text: str) -> str:
    """The text as something copied from the visitor."""
    return f"{MARK_ON}{text}{MARK_OFF}"


def sentences(text: str) -> int:
    """How many sentences the text has; a question in quotes ends one when a capital follows, a title ("Dr.") none."""
    return len(_SENTENCE.findall(plain(text)))


def capital(text: str, past: str = "") -> str:
    """The text with its first letter (past a quote) as a capital; what is marked is left alone unless `past` it."""
    place = 1 if text.startswith('"') or (past and text.startswith(past)) else 0
    return text[:place] + text[place : place + 1].upper() + text[place + 1 :]


@dataclass
class Turn:
    """A visitor's line (empty for an opening unasked for), the marked reply, where it is told, and what it was."""

    said: str
    reply: str
    place: str
    intent: str
    notes: list[str] = field(default_factory=list)
    choices: set[str] = field(default_factory=set)  # valid then, beside those of the place


@dataclass
class Quest:
    """A small errand: `item` is wanted by whoever is at `goal`; `fetch` it from `at`, or `carry` it from `owner`."""

    kind: str
    item: str
    owner: str
    at: str
    goal: str
    stage: int = 0  # 0: nobody asked yet, 1: to be found, 2: carried, 3: done


@dataclass
class Walk:
    """One visitor's walk. `profile` is what the prologue gathered; a missing key is told with the world's default.

    A brisk walk adds to the answers no more than makes four sentences.
    """

    city: City
    rng: Random
    profile: dict[str, str]
    place: str = "avenue"
    turns: list[Turn] = field(default_factory=list)
    brisk: bool = False

    def __post_init__(self) -> None:
        rng = self.rng
        self.before: str | None = None
        self.weather = rng.choice(list(self.city.phrases["weather"]))
        self.told: set[str] = set()  # lines that were used: no walk says the same thing twice
        self.done: set[str] = set()  # choices that were taken
        self.seen: set[str] = set()  # places that were come to
        self.offered: list[str] = []
        self.bag: list[str] = []
        self.lying: dict[str, list[str]] = {}  # place: what was put down there
        self.guide: Person | None = None  # whoever came along
        self.heard: list[str] = []  # notes for the turn to be told
        self.room = 6  # sentences in a reply
        self.quest: Quest = self.make_quest()
        name = self.profile.get("name") or "the traveller"
        companion = self.profile.get("companion") or "nobody"
        self.alone = companion.lower() in {n.lower() for n in words.NOBODY}
        spectacles = self.profile.get("spectacles") or "green"
        self.known = {
            "name": mark(name.removeprefix("the ") if name == "the traveller" else name),
            "companion": mark(refer(companion)),
            "because": mark(because(self.profile.get("reason") or "curiosity")),
            "spectacles": mark(spectacles[0].lower() + spectacles[1:]),
        }

    # --- the parts of a reply -----------------------------------------------------------------

    @property
    def here(self) -> Place:
        """The place the visitor is at."""
        return self.city.places[self.place]

    def fill(self, template: str, **more: str) -> str:
        """A template filled with what is known of the visitor and of this place."""
        who = self.here.who
        values = {**self.known, "who": who.name, "he": who.he, "his": who.his, "at": self.here.at}
        values |= {"guide": self.guide.name if self.guide else "", **more}
        values |= {key.capitalize(): capital(value, past=MARK_ON) for key, value in values.items()}
        text = template.format(**values)
        return capital(text)

    def fresh(self, lines: Any) -> str:
        """One of the lines that was not told yet on this walk, or any when all were."""
        options = [line for line in lines if line not in self.told] or list(lines)
        line: str = self.rng.choice(options)
        self.told.add(line)
        return line

    def line(self, lines: Any, **more: str) -> str:
        """`fresh`, with its slots drawn and filled."""
        return self.fill(STREET.fill(self.rng, self.fresh(lines)), **more)

    def says(self, speech: str) -> str:
        """Words put into the mouth of whoever is here."""
        speech = capital(speech.rstrip("."), past=MARK_ON)
        template = STREET.fill(self.rng, self.rng.choice(self.city.phrases["talk_says"]))
        stop = "" if speech[-1] in "?!" else "."
        text = template.replace("{Line.}", speech + stop).replace("{Line}", speech + ("," if stop else ""))
        return self.fill(text)

    def flavour(self, arriving: bool) -> list[str]:
        """Templates not told yet that may follow in any reply here, in the order to try them."""
        p, rng = self.city.phrases, self.rng
        pool = [
            (0.25 if arriving else 0.08, self.here.scene),
            (0.08, p["weather"][self.weather]),
            (0.15 if arriving else 0.05, self.here.who.does),
            (0.3, [street(rng, "does_lines")]),
            (0.0 if self.alone else 0.1, p["companion_lines"]),
            (0.0 if self.alone else 0.45, [street(rng, "companion_lines")]),
            (0.1, p["name_lines"]),
            (0.5, [street(rng, "name_lines")]),
            (0.25, [street(rng, "spectacles_lines")]),
            (0.1, self.city.dealings["why_come"]["lines"]),
            (0.5 if self.guide else 0.0, self.city.dealings["escort"]["lines"]),
            (0.3, [street(rng)]),
        ]
        picked = [lines for chance, lines in pool if rng.random() < chance]
        rng.shuffle(picked)
        spare = [[street(rng, kind)] for kind in ("name_lines", "does_lines", "lines", "lines", "lines")]
        rng.shuffle(spare)
        told: list[str] = []
        for lines in [*picked, *spare]:
            if any(line not in self.told and line not in told for line in lines):
                told.append(self.rng.choice([line for line in lines if line not in self.told and line not in told]))
        return told

    def tell(self, said: str, core: list[str], intent: str, arriving: bool = False) -> Turn:
        """Ends the turn: the core, as much flavour as makes three to six sentences, and two choices."""
        # four at the least, though three would do: a model this small leaves a sentence out now and then
        wanted = 4 if self.brisk else self.rng.choice((4, 4, 4, 5))
        wanted += not self.brisk and sentences(" ".join(core)) > 3
        begun: set[str] = set()
        for template in self.flavour(arriving):
            if sentences(" ".join(core)) >= wanted:
                break
            line = self.fill(STREET.fill(self.rng, template))
            first = " ".join(plain(line).split()[:3])
            # two sentences of one make in a reply would teach a small model to go round in circles
            if first not in begun and sentences(" ".join([*core, line])) <= self.room:
                begun.add(first)
                self.told.add(template)
                core.append(f"{ASIDE_ON}{line}{ASIDE_OFF}")
        self.offered = self.choose()
        reply = typeset(" ".join(core)) + "\n\n" + "\n".join(f"> {choice}" for choice in self.offered)
        turn = Turn(said, reply, self.place, intent, self.notes(), self.more_choices())
        self.turns.append(turn)
        return turn

    def notes(self) -> list[str]:
        """What the world knows for this turn: what was heard, or now and then something that is beside the point."""
        heard, self.heard = self.heard, []
        rng = self.rng
        if not heard and rng.random() < 0.7:
            return []
        beside = rng.choice((0, 0, 1, 2)) if heard else rng.choice((1, 1, 2))
        heard += [facts.fact(rng).text for _ in range(beside)]
        rng.shuffle(heard)
        return heard

    # --- choices ------------------------------------------------------------------------------

    def choose(self) -> list[str]:
        """Two choices that are valid here, favouring what was not done and what a quest asks for.

        They are of two kinds, and of those a deed comes before a talk and a talk before a way, so that whoever reads
        the first knows that the second is another.
        """
        p, rng, place = self.city.phrases, self.rng, self.here
        who = {"who": place.who.name, "he": place.who.he}
        things = [
            p["verbs"][verb][0].format(t=t) + "."
            for t, verbs in place.things.items()
            for verb in verbs
            if verb != "buy"
        ]
        things += sorted(self.more_choices() - {self.city.asking(self.place)})
        talks = [t.format(**who) for kind in ("talk", "self", "secret") for t in p[kind]["choice"]]
        talks += [t.format(topic=topic, **who) for topic in p["topics"] for t in p["topic_choice"]]
        ways = [way for way in place.ways if way != self.before] or list(place.ways)
        errand = self.errand()
        key = self.city.step(self.place, errand) if errand and rng.random() < 0.7 else rng.choice(ways)
        moves = [rng.choice(p["go"]["choice"]).format(to=self.city.places[key].to)]
        kinds = (things, talks, moves)
        first, second = rng.choices(((0, 1), (0, 2), (1, 2)), (3, 6, 3))[0]
        quest = self.quest_choice()
        if quest and rng.random() < (0.8 if self.is_quest_here() else 0.05):
            own = 1 if self.quest.stage == 0 else 0  # it is asked for in a talk; what is taken or given is a deed
            other = rng.choice([kind for kind in (0, 1, 2) if kind != own])
            picked = {own: quest, other: self._undone(kinds[other])}
        else:
            picked = {kind: self._undone(kinds[kind]) for kind in (first, second)}
        return [picked[kind] for kind in sorted(picked)]

    def _undone(self, choices: list[str]) -> str:
        return self.rng.choice([choice for choice in choices if choice not in self.done] or choices)

    def quest_choice(self) -> str | None:
        """The next step of the quest, when it can be done here. Anybody may be asked for one."""
        quest, p = self.quest, self.city.phrases["quest_choice"]
        if quest.stage == 0:
            return self.city.asking(self.place)
        if self.place == quest.at and quest.stage == 1:
            return str(p["take"].format(item=quest.item))
        if self.place == quest.goal and quest.stage == 2:
            return str(p["give"].format(item=quest.item, who=self.here.who.name))
        return None

    def is_quest_here(self) -> bool:
        """Whether the next step of the quest is here; to ask for one, whoever owns it."""
        return self.place == self.quest.owner if self.quest.stage == 0 else self.quest_choice() is not None

    def more_choices(self) -> set[str]:
        """The choices that make sense now because of what is carried, lies here or is wanted."""
        p = self.city.phrases["quest_choice"]
        found = {p["give"].format(item=item, who=self.here.who.name) for item in self.bag if item != self.quest.item}
        found |= {p["take"].format(item=item) for item in self.lying.get(self.place, [])}
        step = self.quest_choice()
        return found | {step} if step else found

    def errand(self) -> str | None:
        """Where the quest leads next, when it leads away from here."""
        quest = self.quest
        goal = {1: quest.at, 2: quest.goal}.get(quest.stage)
        return goal if goal != self.place else None

    def make_quest(self, owner: str | None = None) -> Quest:
        """A new errand, one or two places long, from whoever is at `owner`."""
        rng, places = self.rng, self.city.places
        owner = owner or rng.choice(list(places))
        near = list(places[owner].ways)
        far = [key for way in near for key in places[way].ways if key != owner and key not in near]
        other = rng.choice(far) if far and rng.random() < 0.3 else rng.choice(near)
        kind = rng.choice(("fetch", "carry"))
        return Quest(kind, words.item(rng), owner, other, owner if kind == "fetch" else other)

    # --- what a visitor may do ----------------------------------------------------------------

    def open(self, said: str = "") -> Turn:
        """The first turn: through the gate on to the avenue; `said` is a line typed before it."""
        p, rng = self.city.phrases, self.rng
        core = [self.line(p["openings"])]
        if rng.random() < 0.85:
            core.append(self.line(p["opening_name"]))
        if self.alone:
            core += [self.line(p["opening_alone"])] if rng.random() < 0.4 else []
        elif rng.random() < 0.85:
            core.append(self.line(p["opening_companion"]))
        if rng.random() < 0.4:
            core.append(self.line(self.city.dealings["why_come"]["opening"]))
        return self.tell(said, core, "opening", arriving=True)

    def go(self, key: str, said: str, called: str | None = None) -> Turn:
        """Moves to a neighbouring place, which the visitor may have called by another name."""
        self.before, self.place = self.place, key
        again, core = key in self.seen, []
        self.seen.add(key)
        called = called if called and called.startswith(("the ", "Oz")) else self.here.to
        moved = street(self.rng, "back_lines" if again and self.rng.random() < 0.7 else "move_lines")
        core.append(self.fill(moved, called=mark(called)))
        if not again:
            core.append(self.line(self.here.arrive))
        quest, dealings = self.quest, self.city.dealings
        if key == quest.at and quest.stage == 1:
            core.append(self.line(dealings["quests"]["fetch"]["see"], item=mark(quest.item)))
        elif self.lying.get(key):
            core.append(self.line(dealings["items"]["again"], item=mark(self.lying[key][-1])))
        elif self.rng.random() < 0.2:
            self.heard = [facts.make(self.rng, "places", self.here.to)]
            core += [mark(self.heard[0])] if self.rng.random() < 0.7 else []
        return self.tell(said, core, "go", arriving=True)


def street(rng: Random, kind: str = "lines") -> str:
    """Something that goes on around the visitor or with somebody here, most likely told for the first time."""
    return STREET.make(rng, kind)


def typeset(text: str) -> str:
    """Straight quotes as the book prints them, except in what the visitor wrote."""
    parts = re.split(f"({MARK_ON}.*?{MARK_OFF})", text, flags=re.DOTALL)
    for place in range(0, len(parts), 2):
        opening = rf'(^|[\s({ASIDE_ON}])"' if place == 0 else rf'([\s({ASIDE_ON}])"'
        parts[place] = re.sub(opening, r"\1“", parts[place].replace("'", "’")).replace('"', "”")
    return "".join(parts)
