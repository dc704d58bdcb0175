"""What a visitor does, and what comes of it: ways, things that are here or are not, errands, company.

Each intent takes the walk and a line (or makes one up in one of many ways) and tells the reply. Knows nothing of
tokens or prompts.
"""

from __future__ import annotations

from model_build.demo import facts, words
from model_build.demo.lines import WHOLE, called, command, say, say_whole, short, something
from model_build.demo.retell import theirs
from model_build.demo.walk import Turn, Walk, capital, mark


def go(walk: Walk, said: str | None) -> Turn:
    """To a place next door, or the first part of the way to one farther off."""
    rng, city = walk.rng, walk.city
    phrases = city.phrases["go"]
    roll = rng.random()
    if said is None and roll < 0.22:
        goal = rng.choice([key for key in city.places if key != walk.place and key not in walk.here.ways])
        step = city.step(walk.place, goal)
        core = [walk.line(phrases["far"], to=city.places[goal].to, step=city.places[step].to)]
        return walk.tell(_way(walk, called(walk, goal)), core, "go_far")
    if said is None and walk.before and roll < 0.3:
        return walk.go(walk.before, say(walk, None, phrases["back_said"]))
    if said is None and roll < 0.4:
        key = rng.choice([way for way in walk.here.ways if way != walk.before] or list(walk.here.ways))
        return walk.go(key, say(walk, None, city.ways_to_say["wander"]))
    return toward(walk, rng.choice(walk.here.ways), said)


def toward(walk: Walk, key: str, said: str | None = None) -> Turn:
    """To the place `key` next door, by name."""
    to = called(walk, key)
    return walk.go(key, said if said is not None else _way(walk, to), to)


def _way(walk: Walk, to: str) -> str:
    ways = walk.city.ways_to_say
    if to.startswith("see "):
        return command(walk, None, [to])
    if walk.rng.random() < 0.5:
        return say(walk, None, ways["go_questions"], to=to)
    return command(walk, None, ways["go"], to=to)


def go_unknown(walk: Walk, said: str | None) -> Turn:
    """To a place that is not in the city."""
    rng, ways = walk.rng, walk.city.ways_to_say
    noun = words.noun(rng) if rng.random() < 0.6 else rng.choice(words.PLACES)
    if rng.random() < 0.5:
        text = command(walk, said, ways["go"], to=noun)
    else:
        text = say(walk, said, walk.city.phrases["go"]["unknown_said"], noun=noun)
    return walk.tell(text, [walk.line(walk.city.phrases["go"]["unknown"], noun=mark(theirs(noun)))], "go_unknown")


def thing(walk: Walk, said: str | None) -> Turn:
    """Something is done with a thing that is here."""
    rng = walk.rng
    name = rng.choice(list(walk.here.things))
    verb = rng.choice(list(walk.here.things[name]))
    ways = walk.city.phrases["verbs"][verb]
    if rng.random() < 0.5:
        return use(walk, name, verb, command(walk, said, ways[:1], t=short(rng, name)))
    return use(walk, name, verb, say(walk, said, ways, t=short(rng, name)))


def use(walk: Walk, name: str, verb: str, said: str) -> Turn:
    """`thing`, with the thing and the verb given; at times the world has something to add to it."""
    rng, phrases = walk.rng, walk.city.phrases
    core = [walk.line(phrases["lead"])] if rng.random() < 0.25 else []
    walk.done.add(phrases["verbs"][verb][0].format(t=name) + ".")
    lines = walk.here.things[name][verb]
    core.append(walk.line(walk.city.dealings["again"]["use"] if set(lines) <= walk.told else lines))
    if rng.random() < 0.12 and not name.endswith("s"):
        walk.heard = [facts.make(rng, "things", name)]
        core += [mark(walk.heard[0])] if rng.random() < 0.7 else []
    return walk.tell(said, core, verb)


def _word(walk: Walk, said: str | None, kind: str, noun: str) -> tuple[str, str]:
    """What a visitor types to look at, use, take or give `noun`: an order, a question, or a line that names a thing of
    its own; and the thing."""
    rng, ways = walk.rng, walk.city.ways_to_say
    if said is None and rng.random() < WHOLE:
        return say_whole(walk, f"{kind}_whole")
    if rng.random() < 0.5:
        return command(walk, said, ways[f"{kind}_any"], noun=noun), noun
    return say(walk, said, ways[f"{kind}_questions"], noun=noun), noun


def any_verb(walk: Walk, said: str | None) -> Turn:
    """Something unheard of is done with a thing that is here."""
    phrases, rng = walk.city.phrases, walk.rng
    verb, name = rng.choice([*phrases["any_verb"], *words.DEEDS]), rng.choice(list(walk.here.things))
    if rng.random() < 0.25:
        verb = words.word(rng)
    text = say(walk, said, phrases["any_verb_said"], v=verb, V=capital(verb), t=short(rng, name))
    core = [walk.line(phrases["any_verb_reply"], v=mark(verb), t=name)]
    if rng.random() < 0.3 and "look" in walk.here.things[name]:
        core.append(walk.line(walk.here.things[name]["look"]))
    return walk.tell(text, core, "any_verb")


def look_any(walk: Walk, said: str | None) -> Turn:
    """A look at something that is in no list of this place."""
    rng = walk.rng
    text, noun = _word(walk, said, "look", something(rng, walk.bag, words.SIGHTS, words.noun(rng)))
    return walk.tell(text, [walk.line(walk.city.dealings["items"]["look"], item=mark(theirs(noun)))], "look_any")


def use_any(walk: Walk, said: str | None) -> Turn:
    """Something is done with a thing that is in no list of this place."""
    rng = walk.rng
    text, noun = _word(walk, said, "use", something(rng, walk.bag, words.SIGHTS + words.GOODS, words.noun(rng)))
    return walk.tell(text, [walk.line(walk.city.dealings["items"]["use"], item=mark(theirs(noun)))], "use_any")


def take(walk: Walk, said: str | None) -> Turn:
    """Something is wanted: what lies here, or anything else; it is given, or it is not."""
    rng = walk.rng
    lying = walk.lying.get(walk.place, [])
    noun = something(rng, lying, words.GOODS, words.noun(rng) if rng.random() < 0.5 else words.item(rng))
    text, noun = _word(walk, said, "take", noun)
    return _take(walk, noun, text, noun in lying or rng.random() < 0.7)


def take_lying(walk: Walk, item: str, said: str) -> Turn:
    """What was put down here is taken up again."""
    return _take(walk, item, said, True)


def _take(walk: Walk, noun: str, said: str, given: bool) -> Turn:
    kind = "take" if given else "refuse"
    core = [walk.line(walk.city.dealings["items"][kind], item=mark(theirs(noun)))]
    lying = walk.lying.get(walk.place, [])
    if noun in lying:
        lying.remove(noun)
    if given and not noun.startswith("my "):
        walk.bag.append(_definite(noun))
    return walk.tell(said, core, "take_any")


def _definite(noun: str) -> str:
    for article in ("a ", "an ", "some "):
        if noun.startswith(article):
            return "the " + noun[len(article) :]
    return noun


def search(walk: Walk, said: str | None) -> Turn:
    """A search, which brings up something small to keep."""
    item = words.item(walk.rng)
    walk.bag.append(item)
    text = say(walk, said, walk.city.phrases["deeds"]["search"]["said"])
    # nothing the visitor said: the name of a find is the storyteller's own
    return walk.tell(text, [walk.line(walk.city.dealings["items"]["found"], item=item)], "search")


def drop(walk: Walk, said: str | None) -> Turn:
    """Something is put down, if it is carried."""
    rng, items = walk.rng, walk.city.dealings["items"]
    own = [item for item in walk.bag if item != walk.quest.item]
    item = rng.choice(own) if own and rng.random() < 0.9 else words.item(rng)
    text = command(walk, said, walk.city.ways_to_say["drop"], noun=item)
    if item not in walk.bag:
        return walk.tell(text, [walk.line(items["drop_none"], item=mark(item))], "drop")
    walk.bag.remove(item)
    walk.lying.setdefault(walk.place, []).append(item)
    return walk.tell(text, [walk.line(items["drop"], item=mark(item))], "drop")


def give(walk: Walk, said: str | None) -> Turn:
    """A present, from the pocket or from nowhere."""
    rng = walk.rng
    own = [item for item in walk.bag if item != walk.quest.item]
    text, noun = _word(walk, said, "give", something(rng, own, words.GIFTS, words.noun(rng)))
    return give_item(walk, noun, text)


def give_item(walk: Walk, noun: str, said: str) -> Turn:
    """`give`, with the thing given."""
    if noun in walk.bag:
        walk.bag.remove(noun)
    return walk.tell(said, [walk.line(walk.city.dealings["items"]["give"], item=mark(theirs(noun)))], "give")


def follow(walk: Walk, said: str | None) -> Turn:
    """Somebody is asked to come along."""
    escort = walk.city.dealings["escort"]
    text = say(walk, said, walk.city.phrases["deeds"]["follow"]["said"])
    if walk.guide is not None:
        return walk.tell(text, [walk.line(escort["refuse"])], "follow")
    walk.guide = walk.here.who
    return walk.tell(text, [walk.line(escort["join"])], "follow")


def part(walk: Walk, said: str | None) -> Turn:
    """Whoever came along is sent home."""
    escort, guide = walk.city.dealings["escort"], walk.guide
    name = guide.name if guide else walk.here.who.name
    text = say(walk, said, walk.city.phrases["deeds"]["leave_behind"]["said"], who=name)
    core = [walk.line(escort["part" if guide else "nobody"])]
    walk.guide = None
    return walk.tell(text, core, "part")


def quest(walk: Walk, said: str | None) -> Turn:
    """The next step of the errand, where there is one to take here; whoever is asked for one has one, unless another
    is on."""
    if walk.quest_choice() is None:
        return _remind(walk, said)
    if walk.quest.stage == 0 and not walk.is_quest_here():
        walk.quest = walk.make_quest(walk.place)
    errand = walk.quest
    lines, rng = walk.city.dealings["quests"][errand.kind], walk.rng
    step = ("ask", "take", "give")[errand.stage]
    text = say(walk, said, walk.city.phrases["quest_said"][step], item=errand.item)
    more = _named(walk)
    if step == "ask":
        core = [walk.says(walk.line(lines["ask"], **{**more, "item": errand.item}))]
        if errand.kind == "carry":
            core.append(walk.line(lines["take"], **more))
    else:
        core = [walk.line(lines[step], **more)]
    if step == "ask" and errand.kind == "fetch":
        errand.stage = 1
    elif step in ("ask", "take"):
        errand.stage = 2
        walk.bag.append(errand.item)
    else:
        if errand.item in walk.bag:  # not when a thing of the same name was put down on the way
            walk.bag.remove(errand.item)
        errand.stage = 3
        if rng.random() < 0.4:
            reward = words.item(rng)
            walk.bag.append(reward)
            core.append(walk.line(walk.city.dealings["quests"]["reward"], reward=reward))
        walk.quest = walk.make_quest(rng.choice(walk.here.ways))
    return walk.tell(text, core, f"quest_{step}")


def _remind(walk: Walk, said: str | None) -> Turn:
    """An errand is asked for while another is on."""
    errand = walk.quest
    lines = walk.city.dealings["quests"]["running"]
    step = "find" if errand.stage == 1 else "bring"
    told = lines["own"] if walk.place == errand.owner else lines[step] + lines["any"]
    ways = walk.city.phrases["quest_said"]["ask"] if walk.rng.random() < 0.6 else [walk.city.asking(walk.place)]
    text = say(walk, said, ways)
    return walk.tell(text, [walk.line(told, **_named(walk))], "quest_on")


def _named(walk: Walk) -> dict[str, str]:
    """What the lines of an errand name: the thing, who should have it, and where it is."""
    errand, places = walk.quest, walk.city.places
    wanted_by = places[errand.goal].who
    return {
        "item": mark(errand.item),
        "other": wanted_by.name,
        "him": wanted_by.him,
        "there": places[errand.at].at,
    }
