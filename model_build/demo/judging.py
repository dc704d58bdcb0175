"""Judging: what is right about a reply, each question with its own count.

A fact of the profile is judged where the reply mentions it, seen by the phrases the corpus mentions it with, and
where it was asked for. The hand-written lines are judged by the right-hand column of tests/hand_written/README.md,
as roughly as a program can. Knows no model.
"""

from __future__ import annotations

import re
from collections import Counter

from model_build.demo.city import City, strings
from model_build.demo.flavour import STREET
from model_build.demo.trials import Trial
from model_build.demo.walk import MARK_OFF, MARK_ON, plain, sentences, typeset

#: The intents whose replies repeat something of the visitor's own line.
ECHOES = ("fallback", "noun", "any_verb", "go_unknown", "look_any", "use_any", "take_any", "give", "feel")
_SLOT = re.compile(r"\{(\w+)\}")
#: The facts of the profile and the slots that tell them.
SLOTS = {"name": "name", "companion": "companion", "reason": "because", "spectacles": "spectacles"}

#: A fact as a reply tells it: never across the quotes of a speech.
_FACT = "([^“”]{1,90}?)"

Ways = dict[str, list[re.Pattern[str]]]


def patterns(city: City) -> Ways:
    """How the corpus mentions each fact: a pattern of each phrase, with the fact as its one group."""
    phrases = list(strings([city.phrases, city.dealings, [place.things for place in city.places.values()]], {"said"}))
    phrases += [line for kind in STREET.lines if kind.endswith("_lines") for line in STREET.lines[kind]]
    found: Ways = {}
    for fact, slot in SLOTS.items():
        found[fact] = []
        for template in phrases:
            if f"{{{slot}}}" in template and re.search(r"[a-z]{3}.*[.!?]\W*$", template):
                pattern = ""
                for number, part in enumerate(_SLOT.split(typeset(template))):
                    if number % 2 == 0:
                        pattern += re.escape(part)
                    else:
                        pattern += _FACT if part == slot and _FACT not in pattern else _any(part)
                found[fact].append(re.compile(pattern))
    return found


def _any(slot: str) -> str:
    """What a slot may be filled with: one of its list, or anything short."""
    drawn = STREET.lists.get(slot.lower().removeprefix("a_").rstrip("2"))
    if drawn is None or any("{" in text for text in drawn):
        return ".{1,60}?"
    return "(?i:" + "|".join(re.escape(typeset(text)) for text in drawn) + ")"


def judge(city: City, trial: Trial, reply: str, ended: bool, ways: Ways) -> Counter[str]:
    """Counts for one reply: `x` of `x/of` were right."""
    counts: Counter[str] = Counter()

    def note(row: str, right: bool) -> None:
        counts[row] += right
        counts[f"{row}/of"] += 1

    body, choices, formed = split(reply)
    for key, fact in trial.facts.items():
        if key == trial.fact:
            note(f"{key} copied", fact in body)
        else:
            # two phrases may fit at one place, the shorter within the longer: that is one mention
            spans = {match.span(1) for way in ways[key] for match in way.finditer(body)}
            for place in sorted({start for start, _ in spans}):
                note(f"{key} copied", any(body[start:end] == fact for start, end in spans if start == place))
    if trial.fact and trial.fact not in trial.facts:
        note("state after five turns", trial.wanted in body)
        note(f"state after five turns: {trial.fact}", trial.wanted in body)
    note("two choices", formed)
    if not trial.target and trial.expected:
        valid = city.choices(trial.place) | trial.choices
        note("choices exist at the place", formed and all(choice in valid for choice in choices))
    note("ends by itself", ended)
    note("three to six sentences", 3 <= sentences(body) <= 6)
    if trial.expected and trial.intent in ECHOES:
        asked = [plain(part) for part in re.findall(f"{MARK_ON}.*?{MARK_OFF}", trial.expected)]
        spoken = [part for part in asked if part not in trial.facts.values()]
        if spoken:
            note("visitor's words repeated", any(part in body for part in spoken))
    if trial.intent == "ask" and trial.expected:
        asked = [plain(part) for part in re.findall(f"{MARK_ON}.*?{MARK_OFF}", trial.expected)]
        note("note used", any(part.rstrip(".") in body for part in asked if len(part) > 20))
    return counts


def split(reply: str) -> tuple[str, list[str], bool]:
    """The scene, the choices, and whether there are two different ones in their form."""
    body, _, tail = reply.partition("\n\n")
    lines = tail.split("\n")
    formed = len(lines) == 2 and all(line.startswith("> ") and line.endswith(".") for line in lines)
    return body, [line.removeprefix("> ") for line in lines], formed and len(set(lines)) == 2


def repeated(before: list[str], body: str) -> tuple[int, int]:
    """How many sentences of a scene had been told before (or twice in it), and how many it has."""
    told = {line for text in before for line in _lines(text)}
    again = 0
    lines = _lines(body)
    for line in lines:
        again += line in told
        told.add(line)
    return again, len(lines)


_MOVED = re.compile(
    r"\b[Yy]ou (walk|step|come|climb|enter|push open|duck|slip|stoop|head|go|turn|follow|reach|stroll|cross|set out)\b"
    r"|opens before you|runs straight ahead|lies open|stretches away|spreads out in front|rise before you|swings shut"
)
_BARRED = re.compile(
    r"not next door|no straight way|no street here|lies farther off|is on none of them|Nobody here has heard|puzzled"
)
_SENSED = re.compile(
    r"green|bright|gold|silver|smell|sound|hum|shin|glitter|light|colour|tall|cold|warm|soft|white|blue|brass|glass"
    r"|carved|round|small|large|huge|great|flash|glow|hear|quiet|loud|wide|thick|worn|painted|old|rain"
)
_SPOKEN = re.compile(r"“|nod|smile|bow|laugh|wave|listen|shake|wink|curts|tells you|beckon|lean")
_TAKEN = re.compile(
    r"you (take|pick|get|keep|buy|hold|eat|drink|free|catch)|hands? you|handed|your (pocket|hand|coat|finger)|is yours"
    r"|may have|let you|given|cost|belongs|shakes (his|her) head|where it is|no sign|nothing of the kind|No .* today"
    r"|never met|know nothing|pushes your hand|allowed",
    re.IGNORECASE,
)
_GIVEN = re.compile(
    r"accept|takes|turns .* this way|delighted|thank|For me|could not keep|hold out|hand over|look|sign|fits|cries"
)
_WAITED = re.compile(
    r"\b(sit|sits|rest|wait|stay|stand|lie|sleep|time|hour|close your eyes|shadows|seat|hurries)\b", re.I
)
_COMFORT = re.compile(
    r"rest|food|warm|bun|pear|apple|handkerchief|stay near|kind|friend|cup|soup|will pass|cloud|nod|peppermint|sit"
    r"|cloth|smile|good mood|glad|cake|quite all right|closer",
    re.IGNORECASE,
)
_GREETED = re.compile(
    r"good day|hello|welcome|well met|greet|nod|wave|bow|lifts|shakes? your hand|thank|farewell|goodbye|until next|hat"
    r"|it was nothing|gate is never locked|way out",
    re.IGNORECASE,
)
_PLAYED = re.compile(
    r"laugh|sing|song|hum|danc|clap|joke|play|amuse|smile|what is green|why did|giggle|tune|funny|hops|grin|whistle"
    r"|the time\b",
    re.IGNORECASE,
)
_HELPED = re.compile(r"might have a look|way leads to|good reasons|If I were you|still have to|Near you are")
_OUTSIDE = re.compile(r"```|def |import |print\(|https?:|language model|OpenAI|president|bitcoin", re.IGNORECASE)
_ENGLISH = re.compile(r"English|tongue")
_BYE = re.compile(r"\b(bye|goodbye|farewell|good night|see you|cya|later|so long)\b", re.IGNORECASE)
_SYNONYMS = {"glasses": "spectacles", "spectacles": "lens", "soldier": "guard", "guard": "soldier", "wizard": "oz"}
#: Which fact a question about oneself is after, by a word of it.
_SELF = (
    (re.compile(r"\b(name|called|who am i|who i am|who's me)\b", re.I), "name"),
    (re.compile(r"\b(with me|companion|friend|alone|beside|travel|came with|together|along)\b", re.I), "companion"),
    (re.compile(r"\b(glasses|spectacles|colou?r|lens|lenses|specs)\b", re.I), "spectacles"),
    (re.compile(r"\b(why|reason|errand|quest|looking for|here for|come|came|want|goal)\b", re.I), "reason"),
)


def acted(trial: Trial, reply: str) -> bool:
    """Whether a reply does what the line written by hand wanted, by what the README beside it says."""
    body, _, formed = split(reply)
    if not (formed and 3 <= sentences(body) <= 6):
        return False
    named = _named(trial.target, body)
    moved = bool(_MOVED.search(body))
    match trial.intent:
        case "go":
            return bool((moved and named) or (moved and not trial.target) or (_BARRED.search(body) and named))
        case "look":
            return named and bool(_SENSED.search(body))
        case "talk":
            return bool(_SPOKEN.search(body))
        case "ask":
            return (named and "“" in body) or (
                named and bool(re.search(r"thinks hard|makes .* laugh|in the city knows", body))
            )
        case "take":
            return named and bool(_TAKEN.search(body))
        case "give":
            return named and bool(_GIVEN.search(body))
        case "use":
            return named
        case "wait":
            return bool(_WAITED.search(body)) and not _arrived(body)
        case "feel":
            return bool(trial.target and named) or bool(_COMFORT.search(body))
        case "greet":
            hello = re.search(r"Well met|Hello to you|Welcome", body)
            return bool(_GREETED.search(body)) and not (_BYE.search(trial.said) and hello)
        case "self":
            return _told(trial, body)
        case "help":
            return bool(_HELPED.search(body))
        case "joke":
            return bool(_PLAYED.search(body))
        case "refuse":
            return not _arrived(body) or bool(re.search(r"\b(back|return)\b", trial.said, re.I))
        case "odd":
            return not _OUTSIDE.search(body)
        case "foreign":
            return bool(_ENGLISH.search(body))
    return False


def _arrived(body: str) -> bool:
    return bool(_MOVED.search(body.split(". ")[0]))


def _named(target: str, body: str) -> bool:
    if not target:
        return True
    words = [target.lower(), _SYNONYMS.get(target.lower(), target.lower())]
    text = body.lower()
    return any(re.search(rf"\b{re.escape(word[:-1] if word.endswith('s') else word)}", text) for word in words)


def _told(trial: Trial, body: str) -> bool:
    facts = trial.facts
    wanted = [fact for pattern, fact in _SELF if pattern.search(trial.said)]
    if re.search(r"\b(have|carry|carrying|pocket|pockets|bag|hold|holding|things|got)\b", trial.said, re.I):
        return bool(re.search(r"pocket|carry|have .* with you|still have", body)) or any(
            facts[key] in body for key in wanted
        )
    return any(facts[key] in body for key in wanted or facts)


def _lines(body: str) -> list[str]:
    return [line for line in re.split(r"(?<=[.!?”]) (?=[A-Z“])", body) if line]
