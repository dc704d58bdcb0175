"""A simulated visitor: who it is, what it says next, and a whole walk of it.

A visitor is keen on errands or not, takes one of the choices or types something. Knows nothing of tokens or prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from model_build.demo import acts, chat, facts, words
from model_build.demo.city import City
from model_build.demo.lines import quote, speak
from model_build.demo.walk import Turn, Walk, mark, typeset

Intent = Callable[[Walk, str | None], Turn]

#: How often each intent is drawn when the visitor does not take one of the choices.
INTENTS: tuple[tuple[Intent, float], ...] = (
    (acts.go, 18), (acts.go_unknown, 3), (acts.thing, 9), (acts.any_verb, 5), (acts.look_any, 8), (acts.use_any, 9),
    (acts.take, 9), (acts.search, 3), (acts.drop, 2), (acts.give, 8), (acts.follow, 2), (acts.part, 0.7),
    (acts.quest, 8), (chat.talk, 8), (chat.self_, 3), (chat.secret, 2), (chat.where, 5), (chat.what, 8),
    (chat.topic, 4), (chat.ask, 12), (chat.noun, 8), (chat.weather, 1), (chat.time, 1), (chat.profile, 12),
    (chat.bag, 5), (chat.deed, 40), (chat.foreign, 6), (chat.fallback, 5),
)  # fmt: skip
_FUNCTIONS = [intent for intent, _ in INTENTS]
_WEIGHTS = [weight for _, weight in INTENTS]
#: The same on a brisk walk, which is there to practise what is rare on the others.
_BRISK: dict[Intent, float] = {
    acts.go: 14, chat.deed: 200, chat.foreign: 14, chat.what: 18, chat.where: 8, chat.ask: 22, chat.noun: 20,
    chat.topic: 8, chat.talk: 16, chat.self_: 6, chat.profile: 30, acts.search: 7, acts.follow: 14, acts.take: 22,
    acts.give: 18, acts.use_any: 24, acts.look_any: 20, acts.any_verb: 8,
}  # fmt: skip
#: How often a visitor who found something, or has somebody along, asks for that when nothing else comes first.
_RECALL = 0.15
#: How often a visitor on an errand asks for one more before anything else is drawn.
_BUSY = 0.08
_BRISK_WEIGHTS = [_BRISK.get(intent, weight) for intent, weight in INTENTS]


def choose(walk: Walk) -> Turn:
    """Takes one of the choices that were offered, as a button says it."""
    rng, city, place = walk.rng, walk.city, walk.here
    choice = rng.choice(walk.offered)
    walk.done.add(choice)
    said = choice if rng.random() < 0.85 else speak(rng, choice)
    if choice == walk.quest_choice():
        return acts.quest(walk, said)
    dealings = city.phrases["quest_choice"]
    for item in walk.bag:
        if choice == dealings["give"].format(item=item, who=place.who.name):
            return acts.give_item(walk, item, said)
    for item in walk.lying.get(walk.place, []):
        if choice == dealings["take"].format(item=item):
            return acts.take_lying(walk, item, said)
    for name, verbs in place.things.items():
        for verb in verbs:
            if choice == city.phrases["verbs"][verb][0].format(t=name) + ".":
                return acts.use(walk, name, verb, said)
    for key in place.ways:
        if any(choice == template.format(to=city.places[key].to) for template in city.phrases["go"]["choice"]):
            return walk.go(key, said)
    for about in city.phrases["topics"]:
        if choice.endswith(f" about {about}."):
            return chat.ask_topic(walk, about, said)
    if "secret" in choice:
        return chat.secret(walk, said)
    if choice.startswith("Ask "):
        return chat.self_(walk, said)
    return chat.talk(walk, said)


def stranger(rng: Random) -> dict[str, str]:
    """The profile of a visitor made up on the spot; a question may have been passed over."""
    made = {
        "name": words.name(rng),
        "companion": words.companion(rng),
        "reason": words.reason(rng),
        "spectacles": words.colour(rng),
    }
    return {key: value for key, value in made.items() if rng.random() > 0.04}


def play(city: City, rng: Random, turns: int, profile: dict[str, str] | None = None, brisk: bool = False) -> Walk:
    """A whole walk of `turns` turns by a stranger, or by the visitor of `profile`."""
    walk = Walk(city, rng, stranger(rng) if profile is None else profile, brisk=brisk)
    keen = rng.random() < (0.2 if brisk else 0.45)  # on errands
    if rng.random() < 0.6:
        # the beginning of the story was cut off, often just before an errand; the first line still tells the place, for
        # a reply cannot know what nothing in its prompt names
        key = walk.quest.owner if keen else rng.choice(list(city.places))
        walk.place = rng.choice(city.places[key].ways)
        acts.toward(walk, key)
    elif rng.random() < 0.3:
        walk = _speak_early(walk, rng.choices(_FUNCTIONS, _WEIGHTS)[0])
    else:
        walk.open()
    if keen and walk.turns:
        walk.quest = walk.make_quest(rng.choice((walk.place, *walk.here.ways)))
    while len(walk.turns) < turns:
        _next(walk, keen)
    return walk


def _next(walk: Walk, keen: bool) -> None:
    rng, errand = walk.rng, walk.errand()
    asks = (0.8 if keen else 0.15) if walk.is_quest_here() else 0.0 if walk.quest_choice() else _BUSY
    if rng.random() < asks:
        acts.quest(walk, None)
    elif errand and rng.random() < (0.8 if keen else 0.3):
        acts.toward(walk, walk.city.step(walk.place, errand))
    elif walk.place == "avenue" and rng.random() < 0.25:
        acts.toward(walk, rng.choice(walk.here.ways))  # every story begins here, and few should stay
    elif (walk.bag or walk.guide) and rng.random() < _RECALL:
        chat.recall(walk, None)
    elif rng.random() < (0.06 if walk.brisk else 0.35):
        choose(walk)
    else:
        rng.choices(_FUNCTIONS, _BRISK_WEIGHTS if walk.brisk else _WEIGHTS)[0](walk, None)


def drill(city: City, rng: Random) -> tuple[dict[str, str], Turn]:
    """A profile, and a turn whose reply is hardly anything but what it copies of that, the line and the notes: practice
    for the real thing."""
    profile = stranger(rng)
    walk = Walk(city, rng, profile, place=rng.choice(list(city.places)))
    p, why = city.phrases, city.dealings["why_come"]
    kinds = [p["name_lines"], p["spectacles_lines"], why["lines"], p["opening_name"], why["opening"]]
    kinds += [p["name_q"]["reply"], p["spectacles_q"]["reply"], why["reply"]]
    # three times: no fact takes as many words, nor as rare ones
    kinds += [] if walk.alone else 3 * [p["companion_lines"], p["opening_companion"], p["companion_q"]["reply"]]
    lines = [walk.line(rng.choice(kinds)) for _ in range(2)]
    tail = "\n\n" + "\n".join(f"> {choice}" for choice in walk.choose())  # without it the form would be unlearned
    said = speak(rng, rng.choice((words.utterance, words.noun, words.name))(rng))
    if rng.random() < 0.4:
        fact = facts.fact(rng)
        lines.insert(rng.randrange(3), mark(fact.text))
        return profile, Turn(fact.about, typeset(" ".join(lines)) + tail, walk.place, "ask", [fact.text])
    lines.insert(rng.randrange(3), walk.line(p["fallback"], said=quote(said)))
    return profile, Turn(said, typeset(" ".join(lines)) + tail, walk.place, "fallback")


def _speak_early(walk: Walk, intent: Intent) -> Walk:
    """The opening answers a line typed before it: what the intent would say, after the way through the gate. Where that
    leads away from there, the walk begins anew without it."""
    walk.room = 5
    turn = intent(walk, None)
    walk.room = 6
    if walk.place != "avenue" or walk.bag:
        walk = Walk(walk.city, walk.rng, walk.profile, brisk=walk.brisk)
        walk.open()
        return walk
    walk.turns.clear()
    opening = walk.line(walk.city.phrases["openings"])
    body, _, tail = turn.reply.partition("\n\n")
    early = Turn(turn.said, f"{typeset(opening)} {body}\n\n{tail}", turn.place, f"early_{turn.intent}")
    early.notes, early.choices = turn.notes, turn.choices
    walk.turns.append(early)
    return walk
