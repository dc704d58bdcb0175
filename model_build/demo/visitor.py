"""What a simulated visitor says next, and what comes of it.

Each intent is a function that takes the walk, makes up a line in one of many ways and tells the reply.
`play` strings them into a dialogue. Knows nothing of tokens or prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from model_build.demo import words
from model_build.demo.city import City
from model_build.demo.walk import Turn, Walk, capital, mark, typeset

Intent = Callable[[Walk, str | None], Turn | None]

_LEADS = (
    "ok, ",
    "um, ",
    "well, ",
    "hey, ",
    "please ",
    "so ",
    "now ",
    "then ",
    "quick, ",
    "and ",
    "oh, ",
    "maybe ",
    "let me ",
)
#: The longest stretch of a visitor's words that a reply repeats, in words.
QUOTED_WORDS = 6


def speak(rng: Random, text: str) -> str:
    """The text as hurried fingers type it: capitals, stops and now and then a letter go missing."""
    roll = rng.random()
    if roll < 0.3:
        text = capital(text) + ("." if text[-1:].isalnum() else "")
    elif roll < 0.45:
        text = text.lower()
    elif roll < 0.5:
        text = text.upper()
    elif roll < 0.58:
        text = rng.choice(_LEADS) + text
    elif roll < 0.63:
        text = text.rstrip("?.") + rng.choice(("!", "!!", "...", "?", " please", " now"))
    if rng.random() < 0.08 and len(text) > 6:
        place = rng.randrange(1, len(text) - 2)
        kind = rng.random()
        if kind < 0.4:
            text = text[:place] + text[place + 1 :]
        elif kind < 0.8:
            text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        else:
            text = text[:place] + text[place] + text[place:]
    return text


def quote(said: str) -> str:
    """What a reply repeats of a line: all of it without its end stop, or its first words when it is long."""
    parts = said.replace('"', "").split()
    short = " ".join(parts[:QUOTED_WORDS])
    return mark(short.rstrip(".!?,… ") or short) + ("..." if len(parts) > QUOTED_WORDS else "")


def theirs(what: str) -> str:
    """What a visitor names, as a reply says it back: `my hat` is `your hat`."""
    return mark("your " + what[3:] if what.lower().startswith("my ") else what)


def _said(walk: Walk, said: str | None, lines: list[str], **more: str) -> str:
    """The line given, or one of `lines` filled and typed by a visitor."""
    if said is not None:
        return said
    companion = walk.known["companion"].strip("\ue000\ue001")
    spectacles = walk.known["spectacles"].strip("\ue000\ue001")
    who = walk.here.who
    name = who.name if walk.rng.random() < 0.7 else walk.rng.choice((who.name.removeprefix("the "), who.him))
    values = {"who": name, "companion": companion, "spectacles": spectacles, **more}
    return speak(walk.rng, walk.rng.choice(lines).format(**values))


def go(walk: Walk, said: str | None) -> Turn:
    """To a place next door, or the first part of the way to one farther off."""
    rng, city = walk.rng, walk.city
    phrases = city.phrases["go"]
    if said is None and rng.random() < 0.3:
        far = [key for key in city.places if key != walk.place and key not in walk.here.ways]
        goal = rng.choice(far)
        step = city.step(walk.place, goal)
        to = city.places[goal].to
        core = [walk.line(phrases["far"], to=to, step=city.places[step].to)]
        return walk.tell(_said(walk, None, phrases["said"], to=to), core, "go_far")
    if said is None and walk.before and rng.random() < 0.12:
        return walk.go(walk.before, _said(walk, None, phrases["back_said"]))
    key = rng.choice(walk.here.ways)
    return walk.go(key, _said(walk, None, phrases["said"], to=city.places[key].to))


def go_unknown(walk: Walk, said: str | None) -> Turn:
    """To a place that is not in the city."""
    phrases = walk.city.phrases["go"]
    noun = words.noun(walk.rng) if walk.rng.random() < 0.6 else walk.rng.choice(words.PLACES)
    text = _said(walk, None, phrases["unknown_said"], noun=noun)
    return walk.tell(text, [walk.line(phrases["unknown"], noun=theirs(noun))], "go_unknown")


def thing(walk: Walk, said: str | None) -> Turn:
    """Something is done with a thing that is here."""
    name = walk.rng.choice(list(walk.here.things))
    verb = walk.rng.choice(list(walk.here.things[name]))
    return walk.use(name, verb, _said(walk, said, walk.city.phrases["verbs"][verb], t=_short(walk.rng, name)))


def any_verb(walk: Walk, said: str | None) -> Turn:
    """Something unheard of is done with a thing that is here."""
    phrases, rng = walk.city.phrases, walk.rng
    verb, name = rng.choice(phrases["any_verb"]), rng.choice(list(walk.here.things))
    if rng.random() < 0.25:
        verb = words.word(rng)
    text = _said(walk, said, phrases["any_verb_said"], v=verb, V=capital(verb), t=_short(rng, name))
    core = [walk.line(phrases["any_verb_reply"], v=mark(verb), t=name)]
    if rng.random() < 0.4 and "look" in walk.here.things[name]:
        core.append(walk.line(walk.here.things[name]["look"]))
    return walk.tell(text, core, "any_verb")


def noun(walk: Walk, said: str | None) -> Turn:
    """Something is asked for that is not here, or is not anywhere."""
    rng, phrases = walk.rng, walk.city.phrases
    what = words.noun(rng)
    if rng.random() < 0.2:
        other = walk.city.places[rng.choice([key for key in walk.city.places if key != walk.place])]
        what = rng.choice(list(other.things))
    text = _said(walk, said, phrases["noun_said"], noun=what)
    lines = phrases["noun_absent"] if rng.random() < 0.65 else phrases["topic_unknown"]
    return walk.tell(text, [walk.line(lines, noun=theirs(what))], "noun")


def talk(walk: Walk, said: str | None) -> Turn:
    """Small talk with whoever is here."""
    phrases, who = walk.city.phrases["talk"], walk.here.who
    return walk.tell(
        _said(walk, said, phrases["said"]), [walk.line(phrases["lead"]), walk.says(walk.fresh(who.talk))], "talk"
    )


def self_(walk: Walk, said: str | None) -> Turn:
    """Who are you?"""
    return walk.tell(_said(walk, said, walk.city.phrases["self"]["said"]), [walk.says(walk.here.who.self)], "self")


def secret(walk: Walk, said: str | None) -> Turn:
    """A secret, told in a whisper."""
    phrases = walk.city.phrases["secret"]
    core = [walk.line(phrases["lead"]), walk.says(walk.here.who.secret)]
    return walk.tell(_said(walk, said, phrases["said"]), core, "secret")


def where(walk: Walk, said: str | None) -> Turn:
    """Where am I, and what is here?"""
    phrases = walk.city.phrases["where"]
    core = [walk.line(phrases["lead"]), walk.line(walk.here.scene)]
    if walk.rng.random() < 0.6:
        core.append(walk.fill("Near you are {t}, and {who} is here too.", t=_list(walk)))
    return walk.tell(_said(walk, said, phrases["said"]), core, "where")


def what(walk: Walk, said: str | None) -> Turn:
    """What now?"""
    phrases, rng = walk.city.phrases["what"], walk.rng
    first, second = rng.sample(list(walk.here.things), 2)
    ways = [walk.city.places[key].to for key in walk.here.ways]
    more = {"to": rng.choice(ways), "t": first, "t2": second, "ways": " or to ".join(ways)}
    return walk.tell(_said(walk, said, phrases["said"]), [walk.line(phrases["reply"], **more)], "what")


def topic(walk: Walk, said: str | None) -> Turn:
    """A question that anybody in the city can answer."""
    phrases = walk.city.phrases
    about = walk.rng.choice(list(phrases["topics"]))
    return ask_topic(walk, about, _said(walk, said, phrases["topic_said"], topic=about))


def ask_topic(walk: Walk, about: str, said: str) -> Turn:
    """`topic`, with the subject given."""
    return walk.tell(said, [walk.says(walk.fresh(walk.city.phrases["topics"][about]))], "topic")


def weather(walk: Walk, said: str | None) -> Turn:
    """A look at the sky."""
    phrases = walk.city.phrases
    core = ["You look up.", *walk.rng.sample(phrases["weather"][walk.weather], 2)]
    return walk.tell(_said(walk, said, phrases["weather_said"]), core, "weather")


def time(walk: Walk, said: str | None) -> Turn:
    """What time is it?"""
    phrases = walk.city.phrases["time"]
    thing_ = walk.rng.choice(list(walk.here.things))
    return walk.tell(_said(walk, said, phrases["said"]), [walk.line(phrases["reply"], t=thing_)], "time")


def profile(walk: Walk, said: str | None) -> Turn:
    """A question about what the visitor told at the gate."""
    key = walk.rng.choice(("name_q", "name_q", "companion_q", "reason_q", "spectacles_q"))
    phrases = walk.city.phrases[key]
    lines = phrases["alone"] if key == "companion_q" and walk.alone else phrases["reply"]
    return walk.tell(_said(walk, said, phrases["said"]), [walk.line(lines)], key)


def bag(walk: Walk, said: str | None) -> Turn:
    """What do I carry?"""
    phrases = walk.city.phrases["bag_q"]
    core = [walk.line(phrases["some"], item=walk.bag[-1]) if walk.bag else walk.line(phrases["none"])]
    return walk.tell(_said(walk, said, phrases["said"]), core, "bag")


def deed(walk: Walk, said: str | None) -> Turn:
    """Something that can be done anywhere."""
    deeds, rng = walk.city.phrases["deeds"], walk.rng
    kind = rng.choice([kind for kind, entry in deeds.items() if not (walk.alone and entry.get("companion"))])
    entry = deeds[kind]
    more = {"noun": words.noun(rng), "t": rng.choice(list(walk.here.things))}
    text = _said(walk, said, entry["said"], **more)
    core = [walk.line(entry["reply"], **{**more, "noun": theirs(more["noun"])} if more["noun"] in text else more)]
    if kind == "give" and more["noun"] not in text:
        core = [walk.fill("{Who} thanks you with a little bow and puts the present in a safe place.")]
    return walk.tell(text, core, kind)


def foreign(walk: Walk, said: str | None) -> Turn:
    """Another tongue, politely declined."""
    phrases = walk.city.phrases["foreign"]
    text = said or walk.rng.choice(phrases["said"])
    return walk.tell(text, [walk.line(phrases["reply"], said=quote(text))], "foreign")


def fallback(walk: Walk, said: str | None) -> Turn:
    """Anything at all: it is repeated, wondered at, and the walk goes on."""
    text = said or speak(walk.rng, words.utterance(walk.rng))
    return walk.tell(text, [walk.line(walk.city.phrases["fallback"], said=quote(text))], "fallback")


def quest(walk: Walk, said: str | None) -> Turn | None:
    """The next step of the quest, where there is one to take here."""
    choice = walk.quest_choice()
    if choice is None:
        return None
    quest_, phrases = walk.quest, walk.city.phrases["quest_said"]
    kind = "give" if quest_.item in walk.bag else "take" if walk.place == quest_.found else "ask"
    text = _said(walk, said, phrases[kind], item=quest_.item)
    if kind == "ask":
        walk.asked[quest_.item] = False
        core = [walk.says(quest_.lost)]
    elif kind == "take":
        walk.bag.append(quest_.item)
        core = [quest_.take]
    else:
        walk.bag.remove(quest_.item)
        walk.asked[quest_.item] = True
        core = [quest_.thanks]
    return walk.tell(text, core, f"quest_{kind}")


#: How often each intent is drawn when the visitor does not take one of the choices.
INTENTS: tuple[tuple[Intent, float], ...] = (
    (go, 22), (go_unknown, 4), (thing, 15), (any_verb, 6), (noun, 10), (talk, 5), (self_, 3), (secret, 3), (where, 4),
    (what, 5), (topic, 4), (weather, 1.5), (time, 1.5), (profile, 8), (bag, 1.5), (deed, 18), (foreign, 2),
    (fallback, 17), (quest, 8),
)  # fmt: skip


def choose(walk: Walk) -> Turn:
    """Takes one of the choices that were offered, as a button says it."""
    rng, city, place = walk.rng, walk.city, walk.here
    choice = rng.choice(walk.offered)
    walk.done.add(choice)
    said = choice if rng.random() < 0.85 else speak(rng, choice)
    if choice == walk.quest_choice():
        turn = quest(walk, said)
        if turn is not None:
            return turn
    for name, verbs in place.things.items():
        for verb in verbs:
            if choice == city.phrases["verbs"][verb][0].format(t=name) + ".":
                return walk.use(name, verb, said)
    for key in place.ways:
        if any(choice == template.format(to=city.places[key].to) for template in city.phrases["go"]["choice"]):
            return walk.go(key, said)
    for about in city.phrases["topics"]:
        if choice.endswith(f" about {about}."):
            return ask_topic(walk, about, said)
    if "secret" in choice:
        return secret(walk, said)
    if choice.startswith("Ask "):
        return self_(walk, said)
    return talk(walk, said)


def stranger(rng: Random) -> dict[str, str]:
    """The profile of a visitor made up on the spot; a question may have been passed over."""
    made = {
        "name": words.name(rng),
        "companion": words.companion(rng),
        "reason": words.reason(rng),
        "spectacles": words.colour(rng),
    }
    return {key: value for key, value in made.items() if rng.random() > 0.04}


def play(city: City, rng: Random, turns: int, profile: dict[str, str] | None = None) -> Walk:
    """A whole walk of `turns` turns by a stranger, or by the visitor of `profile`."""
    walk = Walk(city, rng, stranger(rng) if profile is None else profile)
    intents, weights = [intent for intent, _ in INTENTS], [weight for _, weight in INTENTS]
    if rng.random() < 0.25:
        # the beginning of the story was cut off, half of the time where a quest may begin
        walk.place = walk.quest.owner if rng.random() < 0.5 else rng.choice(list(city.places))
        walk.offered = walk.choose()
    elif rng.random() < 0.3:
        _speak_early(walk, rng.choices(intents, weights)[0])
    else:
        walk.open()
    while len(walk.turns) < turns:
        errand = walk.errand()
        if errand and rng.random() < 0.75:
            step = city.step(walk.place, errand)
            walk.go(step, _said(walk, None, city.phrases["go"]["said"], to=city.places[step].to))
        elif walk.quest_choice() and rng.random() < 0.5:
            quest(walk, None)
        elif rng.random() < 0.4:
            choose(walk)
        else:
            rng.choices(intents, weights)[0](walk, None)
    return walk


def drill(city: City, rng: Random) -> tuple[dict[str, str], str, str]:
    """A profile, a line and a reply that is hardly anything but what it copies of them: practice for the real thing."""
    profile = stranger(rng)
    walk = Walk(city, rng, profile, place=rng.choice(list(city.places)))
    p = city.phrases
    kinds = [p["name_lines"], p["spectacles_lines"], p["reason_lines"], p["opening_name"], p["opening_reason"]]
    kinds += [] if walk.alone else [p["companion_lines"], p["opening_companion"]]
    lines = [walk.line(rng.choice(kinds)) for _ in range(2)]
    said = speak(rng, rng.choice((words.utterance, words.noun, words.name))(rng))
    lines.insert(rng.randrange(3), walk.line(p["fallback"], said=quote(said)))
    return profile, said, typeset(" ".join(lines))


def _speak_early(walk: Walk, intent: Intent) -> None:
    """The visitor spoke before the story began: what was said is answered after half an opening."""
    turn = intent(walk, None)
    if turn is None or turn.intent == "go":
        walk.place, walk.before, walk.turns = "avenue", None, []
        walk.open()
        return
    walk.turns.clear()
    first = walk.line(walk.city.phrases["openings"])
    turn.reply = typeset(first) + " " + turn.reply
    turn.intent = f"early_{turn.intent}"
    walk.turns.append(turn)


def _short(rng: Random, name: str) -> str:
    """A thing as visitors call it: with and without its article, at times only its last word."""
    roll = rng.random()
    if roll < 0.65:
        return name
    bare = name.removeprefix("the ")
    return bare if roll < 0.85 else bare.split()[-1] if roll < 0.93 else f"that {bare}"


def _list(walk: Walk) -> str:
    things = list(walk.here.things)
    return ", ".join(things[:-1]) + " and " + things[-1]
