"""What the prologue makes of a line that no written answer covers. Pure: no index, no session.

A line said to a question is the reply to it, unless it is plainly something else (a greeting, thanks, a
question of its own). Any other line gets a line of the speaker's, by kind, never the same twice in a
row; what belongs to the story is kept for the storyteller. Nothing said here ends the prologue.
"""

from __future__ import annotations

import copy
import re
from typing import Literal, NamedTuple

from prologue.placeholders import fill, flatten
from prologue.script.player import Question, ReplyError, Script, ScriptState

Kind = Literal["greeting", "thanks", "yes", "no", "small_talk", "question", "story", "other"]
KINDS: tuple[Kind, ...] = ("greeting", "thanks", "yes", "no", "small_talk", "question", "story", "other")
#: Kinds that the storyteller should hear about.
KEPT: frozenset[Kind] = frozenset({"question", "story", "other"})
#: Kinds that are no reply to a question.
NO_REPLY: frozenset[Kind] = frozenset({"greeting", "thanks", "question"})

_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_GREETING = frozenset(
    [
        "hello",
        "hi",
        "hey",
        "hiya",
        "hallo",
        "howdy",
        "yo",
        "heya",
        "greetings",
        "morning",
        "afternoon",
        "evening",
        "day",
        "good",
        "there",
        "sir",
        "guardian",
        "all",
        "you",
        "everyone",
        "again",
        "dear",
        "friend",
        "to",
        "sup",
        "ahoy",
        "welcome",
        "hullo",
        "oi",
        "bonjour",
        "hola",
    ]
)
_GREETS = frozenset(
    [
        "hello",
        "hi",
        "hey",
        "hiya",
        "hallo",
        "howdy",
        "yo",
        "heya",
        "greetings",
        "sup",
        "ahoy",
        "hullo",
        "oi",
        "bonjour",
        "hola",
    ]
)
_GOOD_DAY = re.compile(r"\bgood (?:morning|afternoon|evening|day)\b|^(?:morning|evening)$")
_THANKS = re.compile(r"\b(?:thanks?|thx|ty|tysm|cheers|much obliged|appreciated?|grateful|merci|danke|gracias)\b")
_YES = frozenset(
    [
        "yes",
        "yeah",
        "yep",
        "yup",
        "aye",
        "sure",
        "ok",
        "okay",
        "k",
        "fine",
        "right",
        "alright",
        "indeed",
        "certainly",
        "absolutely",
        "please",
        "do",
    ]
)
_NO = frozenset(["no", "nope", "nah", "never", "not", "really", "thanks", "thank", "you", "none", "nay"])
_ASKING = frozenset(
    [
        "who",
        "whose",
        "whom",
        "what",
        "whats",
        "what's",
        "which",
        "when",
        "where",
        "wheres",
        "where's",
        "why",
        "how",
        "hows",
        "how's",
        "is",
        "are",
        "am",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "have",
        "has",
    ]
)
#: These begin a question only before one of `_SUBJECTS`: "Will" and "May" are names, too.
_NAMES = frozenset(["will", "may"])
_SUBJECTS = frozenset(
    "i you he she it we they there this that these those the a an my your his her our their "  # noqa: SIM905
    "somebody someone anybody anyone everybody everyone".split()
)
_DEED = re.compile(
    r"^(?:i|we|let's|lets|let us)\b(?! (?:am|are|'m|like|love|hate|think|guess|suppose|feel|don't|do not)\b)"
    r"|^(?:go|walk|run|open|take|give|knock|ring|look|enter|climb|follow|wait|sing|dance|push|pull|ask|tell|show)\b"
    r"|[\"“”*]"
)
_SMALL_TALK = re.compile(
    r"\b(?:nice|lovely|beautiful|pretty|funny|weather|lol|haha|ha|wow|cool|great|amazing|tired|bored|hungry|cold|hot"
    r"|love|like|hate|you are|you're|you look|bye|goodbye|hm+|oh|well|joke)\b"
)


class Reaction(NamedTuple):
    """What to do with a line.

    `kind` is "answer" (give the written answer), "reply" (the question `key` has now the value `value`),
    "refused" (the reply is none of the choices; `line` says so) or the kind of the line. `line`: what the
    speaker says, or None. `keep`: the storyteller is to be told this line first.
    """

    kind: str
    line: str | None = None
    key: str | None = None
    value: str | None = None
    keep: bool = False


def classify(text: str) -> Kind:
    """The kind of a line, from its words (English)."""
    line = flatten(text, 200).casefold().replace("’", "'")
    words = _WORDS.findall(line)
    if not words:
        return "small_talk"
    if (words[0] in _GREETS and set(words) <= _GREETING) or (_GOOD_DAY.search(line) and len(words) <= 4):
        return "greeting"
    if len(words) <= 7 and _THANKS.search(line) and words[0] not in ("no", "nope", "nah"):
        return "thanks"
    if set(words) <= _NO and words[0] in ("no", "nope", "nah", "never", "not", "none", "nay"):
        return "no"
    if set(words) <= _YES:
        return "yes"
    asks = words[0] in _ASKING and (words[0] not in _NAMES or bool(_SUBJECTS.intersection(words[1:2])))
    if asks or (len(words) > 1 and line.rstrip(" )\"'”").endswith("?")):
        return "question"
    if _DEED.search(line):
        return "story"
    return "small_talk" if _SMALL_TALK.search(line) else "other"


def react(
    script: Script, state: ScriptState, text: str, *, answered: bool, question: Question | None = None
) -> tuple[Reaction, ScriptState]:
    """What to do with a line said in the prologue, and the state after it.

    `answered`: whether the answer index has an answer to the line. `question`: the one that the visitor sees.
    """
    kind = classify(text)
    if question is not None and (kind not in NO_REPLY or question.offered(text)):
        refused = state.get("refused", 0)
        try:
            return Reaction("reply", key=question.key, value=question.read(text, refused)), state
        except ReplyError as refusal:
            return Reaction("refused", str(refusal)), {**state, "refused": refused + 1}
    if answered:
        return Reaction("answer"), state
    line, state = _say(script, state, kind, text)
    return Reaction(kind, line, keep=kind in KEPT), state


def standing(script: Script, state: ScriptState) -> Question | None:
    """The question of the beat that was told last."""
    shown = script.current(state)
    if shown is None or shown.ask is None:
        return None
    step = next((step for step in script.steps() if step.id == state["beat"]["step"]), None)
    return step.ask if step is not None else None


def _say(script: Script, state: ScriptState, kind: Kind, text: str) -> tuple[str | None, ScriptState]:
    """The next line for a kind, in turn."""
    lines = script.asides.get(kind) or script.asides.get("other")
    if not lines:
        return None, state
    state = copy.deepcopy(state)
    said = state.setdefault("asides", {})
    place = said.get(kind, 0)
    line = lines[place % len(lines)]
    if line == state.get("aside") and len(lines) > 1:  # another kind that borrows the lines of `other`
        place += 1
        line = lines[place % len(lines)]
    said[kind] = place + 1
    state["aside"] = line
    return fill(line, {"said": text}), state
