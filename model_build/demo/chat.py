"""What a visitor says or asks, and the reply to it: people, places, the profile, small talk, anything at all.

Each intent takes the walk and a line (or makes one up in one of many ways) and tells the reply. Knows nothing of
tokens or prompts.
"""

from __future__ import annotations

import re

from model_build.demo import facts, words
from model_build.demo.flavour import STREET
from model_build.demo.lines import WHOLE, quote, say, say_whole, speak
from model_build.demo.retell import theirs
from model_build.demo.walk import Turn, Walk, capital, mark

#: Deeds with a function of their own in `acts`.
_APART = ("give", "follow", "leave_behind", "search", "take_any")
#: How often a deed is drawn, against 1 for any other.
_OFTEN = {
    "feel": 4.0, "rest": 4.0, "no": 4.0, "laugh": 3.0, "greet": 3.0, "meta": 3.0, "nonsense": 2.5, "sing": 2.0,
    "dance": 2.0, "thank": 2.0, "bye": 2.0, "rude": 2.0, "hungry": 2.0, "hurt": 2.0, "pet": 1.5,
}  # fmt: skip


def talk(walk: Walk, said: str | None) -> Turn:
    """A word with whoever is here."""
    phrases, rng = walk.city.phrases["talk"], walk.rng
    told = walk.fresh(walk.here.who.talk) if rng.random() < 0.55 else STREET.make(rng, "chatter")
    return walk.tell(say(walk, said, phrases["said"]), [walk.line(phrases["lead"]), walk.says(told)], "talk")


def self_(walk: Walk, said: str | None) -> Turn:
    """Who are you?"""
    told = walk.says(_once(walk, "self", walk.here.who.self))
    return walk.tell(say(walk, said, walk.city.phrases["self"]["said"]), [told], "self")


def secret(walk: Walk, said: str | None) -> Turn:
    """A secret, told in a whisper."""
    phrases = walk.city.phrases["secret"]
    core = [walk.line(phrases["lead"]), walk.says(_once(walk, "secret", walk.here.who.secret))]
    return walk.tell(say(walk, said, phrases["said"]), core, "secret")


def _once(walk: Walk, kind: str, line: str) -> str:
    """A line that is told once; from then on, what is said instead."""
    return walk.line(walk.city.dealings["again"][kind]) if line in walk.told else walk.line([line])


def where(walk: Walk, said: str | None) -> Turn:
    """Where am I, and what is here?"""
    phrases = walk.city.phrases["where"]
    core = [walk.line(phrases["lead"]), walk.line(walk.here.scene)]
    if walk.rng.random() < 0.6:
        things = list(walk.here.things)
        core.append(
            walk.fill("Near you are {t}, and {who} is here too.", t=", ".join(things[:-1]) + " and " + things[-1])
        )
    return walk.tell(say(walk, said, phrases["said"]), core, "where")


def what(walk: Walk, said: str | None) -> Turn:
    """What now?"""
    phrases, rng = walk.city.phrases["what"], walk.rng
    first, second = rng.sample(list(walk.here.things), 2)
    ways = [walk.city.places[key].to for key in walk.here.ways]
    more = {"to": rng.choice(ways), "t": first, "t2": second, "ways": " or to ".join(ways)}
    core = [walk.line(phrases["reply"], **more)]
    quest = walk.quest
    if quest.stage in (1, 2) and rng.random() < 0.7:
        places = walk.city.places
        line = (
            "You still have to find {item} {there}."
            if quest.stage == 1
            else "You still have to bring {item} to {other}."
        )
        core.append(
            walk.fill(line, item=mark(quest.item), there=places[quest.at].at, other=places[quest.goal].who.name)
        )
    return walk.tell(say(walk, said, phrases["said"]), core, "what")


def topic(walk: Walk, said: str | None) -> Turn:
    """A question that anybody in the city can answer."""
    phrases = walk.city.phrases
    about = walk.rng.choice(list(phrases["topics"]))
    return ask_topic(walk, about, say(walk, said, phrases["topic_said"], topic=about))


def ask_topic(walk: Walk, about: str, said: str) -> Turn:
    """`topic`, with the subject given."""
    return walk.tell(said, [walk.says(walk.fresh(walk.city.phrases["topics"][about]))], "topic")


def ask(walk: Walk, said: str | None) -> Turn:
    """A question that a note in the prompt answers."""
    rng = walk.rng
    fact = facts.fact(rng)
    walk.heard = [fact.text]
    if re.match(r"(I|who|what|where|when|why|how|may|can|does|do|is)\b", fact.about):
        text = speak(rng, fact.about)
    else:
        text = say(walk, said, walk.city.ways_to_say["ask"], noun=fact.about)
    core = [walk.line(walk.city.dealings["fact_lead"])] if rng.random() < 0.5 else []
    core.append(mark(fact.text) if rng.random() < 0.4 else walk.says(mark(fact.text.rstrip("."))))
    return walk.tell(text, core, "ask")


def noun(walk: Walk, said: str | None) -> Turn:
    """A question about something that nobody here has heard of; what is a topic after all has its answer."""
    rng, phrases = walk.rng, walk.city.phrases
    if said is None and rng.random() < WHOLE:
        text, name = say_whole(walk, "ask_whole")
        about = next((topic for topic in phrases["topics"] if topic.lower() == name.lower()), None)
        if about:
            return ask_topic(walk, about, text)
        return walk.tell(text, [walk.line(phrases["topic_unknown"], noun=mark(theirs(name)))], "noun")
    roll = rng.random()
    if roll < 0.3:
        other = walk.city.places[rng.choice([key for key in walk.city.places if key != walk.place])]
        name = rng.choice(list(other.things))
    else:
        name = facts.person(rng) if roll < 0.45 else words.noun(rng)
    if rng.random() < 0.5:
        text = say(walk, said, walk.city.ways_to_say["ask"], noun=name)
        lines = phrases["topic_unknown"]
    else:
        text = say(walk, said, phrases["noun_said"], noun=name)
        lines = phrases["noun_absent"] if rng.random() < 0.5 else phrases["topic_unknown"]
    return walk.tell(text, [walk.line(lines, noun=mark(theirs(name)))], "noun")


def weather(walk: Walk, said: str | None) -> Turn:
    """A look at the sky."""
    phrases = walk.city.phrases
    core = ["You look up.", *walk.rng.sample(phrases["weather"][walk.weather], 2)]
    return walk.tell(say(walk, said, phrases["weather_said"]), core, "weather")


def time(walk: Walk, said: str | None) -> Turn:
    """What time is it?"""
    phrases = walk.city.phrases["time"]
    thing = walk.rng.choice(list(walk.here.things))
    return walk.tell(say(walk, said, phrases["said"]), [walk.line(phrases["reply"], t=thing)], "time")


def profile(walk: Walk, said: str | None) -> Turn:
    """A question about what the visitor told at the gate."""
    return told_at_the_gate(
        walk, walk.rng.choice(("name_q", "companion_q", "companion_q", "reason_q", "reason_q", "spectacles_q")), said
    )


def told_at_the_gate(walk: Walk, key: str, said: str | None) -> Turn:
    """`profile`, with the question given."""
    phrases, dealings = walk.city.phrases[key], walk.city.dealings
    if key == "reason_q":
        lines = dealings["why_come"]["reply"]
    else:
        lines = phrases["alone"] if key == "companion_q" and walk.alone else phrases["reply"]
    core, intent = [walk.line(lines)], key
    if key == "companion_q":
        intent = "alone_q" if walk.alone else key
        if walk.guide is not None:
            core.append(walk.line(dealings["escort"]["asked"], guide=mark(walk.guide.name)))
            intent = f"guide_{intent}"
    return walk.tell(say(walk, said, phrases["said"]), core, intent)


def bag(walk: Walk, said: str | None) -> Turn:
    """What do I carry?"""
    lines = walk.city.dealings["bag"]
    core, intent = [walk.line(lines["none"])], "bag_none"
    if walk.bag:
        core, intent = [walk.line(lines["some"], items=" and ".join(mark(item) for item in walk.bag[-2:]))], "bag"
    return walk.tell(say(walk, said, walk.city.phrases["bag_q"]["said"]), core, intent)


def recall(walk: Walk, said: str | None) -> Turn:
    """A question about what was found, or who came along, however long ago; without either, about the place.

    A brisk walk asks for the company twice as often: that is rarer, and harder to keep in mind.
    """
    kinds = ["bag"] * bool(walk.bag) + ["company"] * (bool(walk.guide) * (1 + walk.brisk))
    kind = walk.rng.choice(kinds) if kinds else "where"
    if kind == "company":
        return told_at_the_gate(walk, "companion_q", said)
    return bag(walk, said) if kind == "bag" else where(walk, said)


def deed(walk: Walk, said: str | None) -> Turn:
    """Small talk, or something that can be done anywhere."""
    deeds, rng = walk.city.phrases["deeds"], walk.rng
    kinds = [
        kind for kind, entry in deeds.items() if kind not in _APART and not (walk.alone and entry.get("companion"))
    ]
    kind = rng.choices(kinds, [_OFTEN.get(kind, 1.0) for kind in kinds])[0]
    entry = deeds[kind]
    feeling = words.feeling(rng)
    more = {"noun": words.noun(rng), "feeling": feeling}
    way = rng.choice(entry["said"])
    text = say(walk, said, [way], **more)
    told = {
        **more,
        "feeling": mark(feeling),
        "Feeling": mark(capital(feeling)),
        "t": rng.choice(list(walk.here.things)),
    }
    lines = entry["reply"] if kind != "feel" or "{feeling}" in way else entry["comfort"]
    return walk.tell(text, [walk.line(lines, **told)], kind)


def foreign(walk: Walk, said: str | None) -> Turn:
    """Another tongue, politely declined."""
    phrases = walk.city.phrases["foreign"]
    text = said or walk.rng.choice(phrases["said"])
    if said is None and walk.rng.random() < 0.25:
        text = text.lower().rstrip("?!.")
    return walk.tell(text, [walk.line(phrases["reply"], said=quote(text)), walk.line(phrases["invite"])], "foreign")


def fallback(walk: Walk, said: str | None) -> Turn:
    """Anything at all: it is repeated, wondered at, and the walk goes on."""
    text = said or speak(walk.rng, words.utterance(walk.rng))
    return walk.tell(text, [walk.line(walk.city.phrases["fallback"], said=quote(text))], "fallback")
