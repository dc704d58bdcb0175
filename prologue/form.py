"""The form of a reply: a scene of some sentences in one paragraph, then a number of choices.

    The lift goes up at the speed of a long story. “Hold on,” says the cook.

    > Step out under the bell.
    > Wave to the man in the hammock.

Says it as a grammar that constrained decoding can hold a model to, part by part: the grammar of a choice
leaves out the choices before it, which a grammar alone cannot do. Knows no model and no engine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

#: A sentence has some 400 characters at most, so that it ends; a choice has 2 to 80.
SENTENCE, CHOICE = 400, 80

# Pieces of regular expressions in Rust's syntax. Neither line breaks nor control characters stand in a reply, and
# never two spaces together.
_END = r".!?…"
_CLOSING = r"\"'”’»)\]*_"
_CONTROL = r"\p{Cc}\u{2028}\u{2029}"
_PLAIN = rf"[^{_END} {_CONTROL}]"
#: What a sentence ends with; more of it belongs to the same end.
_MARK = rf"[{_END}][{_END}{_CLOSING}]{{0,7}}"
#: Between the first character and the end mark. A mark that a small letter follows is none (“Loud?” he shouts).
_WITHIN = rf"(?: ?{_PLAIN}| ?{_MARK}(?:[^{_END}{_CLOSING} {_CONTROL}]| \p{{Ll}}))"
_SENTENCE = rf"[^{_END}\p{{Ll}} {_CONTROL}]{_WITHIN}{{0,{SENTENCE}}} ?{_MARK}"
_LETTER = r"[\p{L}\p{N}]"
#: A choice is one sentence. Kept from what it would say, a model must turn off before the end mark, not after it.
_TITLE = "(?:Mr|Mrs|Ms|Dr|St)"
_GOES_ON = rf"(?:[!?…][{_END}{_CLOSING}]{{0,7}}|\.[{_CLOSING}]{{1,7}}) \p{{Ll}}"
_ABBREVIATED = rf" ?(?:{_TITLE}|\p{{Lu}})\. [^{_END}> {_CONTROL}]"
#: No number stands after an end mark: a model kept from a choice would else say it again as "Go in. 1. 2.".
_NUMBER = r" ?(?:\p{N}\.\p{N}|No\. \p{N})"
_CHOICE = (
    rf"[\"'“‘«„¿¡(]?{_LETTER}"
    rf"(?: ?[^{_END}> {_CONTROL}]|{_ABBREVIATED}|{_NUMBER}|{_GOES_ON})*(?: ?{_MARK})?"
)
#: A sentence that must end soon.
_SOON = rf"(?: ?{_PLAIN}){{0,60}} ?{_MARK}"


@dataclass(frozen=True)
class ReplyForm:
    """`least` to `most` sentences, then a blank line and `choices` lines that begin with `> `, no two the same."""

    least: int
    most: int
    choices: int = 0

    def parts(self) -> tuple[str, Callable[[str], str | None], Callable[[str], str | None]]:
        """The first part's grammar, and what gives those of the next parts and of the shortest end, for a text."""
        return self.first_part(), self.next_part, self.last_part

    def first_part(self) -> str:
        """The grammar (Lark) of the scene and of the first choice."""
        more = rf"(?: {_SENTENCE}){{{self.least - 1},{self.most - 1}}}"
        if not self.choices:
            return f"start: SCENE\nSCENE: {_slashes(_SENTENCE + more)}"
        scene = _slashes(rf"{_SENTENCE}{more}\n\n")
        return f"start: SCENE CHOICE\nSCENE: {scene}\n{self._choice([])}"

    def next_part(self, text: str) -> str | None:
        """The grammar of what follows `text`, the parts so far; None when that is the whole reply."""
        told = _choices(text)
        return None if len(told) >= self.choices else f"start: CHOICE\n{self._choice(told)}"

    def last_part(self, text: str) -> str | None:
        """The grammar of the shortest end after `text`; None where the choices have begun, which are short anyway.

        It ends the sentence that is under way, adds those that are wanting, and goes over to the choices.
        """
        scene, blank, _ = text.partition("\n\n")
        if blank:
            return None
        if scene.endswith("\n"):
            return f'start: "\\n" CHOICE\n{self._choice([])}'
        told = len(sentences(scene)) if scene.strip() else 0
        ended = re.search(rf"[{_END}][{_END}{_CLOSING}]* ?$", scene)
        new = rf"[^{_END}\p{{Ll}} {_CONTROL}]{_SOON}"
        if not told:
            told, rest = 1, new
        elif ended and scene.endswith(" "):
            # After an end mark a capital begins a sentence, and a small letter goes on with this one.
            told, rest = (told + 1, new) if told < self.most else (told, rf"\p{{Ll}}{_SOON}")
        elif ended:
            rest = rf"[{_CLOSING}]{{0,2}}"
        else:
            rest = _PLAIN + _SOON if scene.endswith(" ") else _SOON
        rest += rf" {new}" * (self.least - told)
        if not self.choices:
            return f"start: SCENE\nSCENE: {_slashes(rest)}"
        scene_end = _slashes(rf"{rest}\n\n")
        return f"start: SCENE CHOICE\nSCENE: {scene_end}\n{self._choice([])}"

    def begun(self, reply: str) -> str:
        """The unfinished end of a reply; one that was continued after its end has whole ones before that."""
        return re.split(r"(?m)^> .*\n\n", reply)[-1]

    def kept_by(self, reply: str) -> bool:
        """Whether a reply has this form."""
        scene, blank, rest = reply.partition("\n\n")
        lines = rest.split("\n") if blank else []
        return (
            self.least <= len(sentences(scene)) <= self.most
            and re.search(rf"[{_END}][{_END}{_CLOSING}]*$", scene) is not None
            and "\n" not in scene
            and len(lines) == self.choices
            and all(line.startswith("> ") and _is_choice(line[2:]) for line in lines)
            and len({_core(line).lower() for line in lines}) == self.choices
        )

    def _choice(self, told: list[str]) -> str:
        """The terminal of one line: bounded, unlike those told, and ended by a line break unless it is the last."""
        line = f"{_slashes(_CHOICE)} & {_slashes(rf'(?s:.){{2,{CHOICE}}}')}"
        other = r"[^\p{L}\p{N}]*"
        for choice in told:
            line += f" & ~{_slashes(f'{other}(?i:{_escaped(_core(choice))}){other}')}"
        end = "" if len(told) + 1 == self.choices else r' "\n"'
        return f'CHOICE: "> " ({line}){end}'


def sentences(scene: str) -> list[str]:
    """The sentences of a paragraph: each ends at an end mark that no lower-case letter follows."""
    found, begin = [], 0
    for mark in re.finditer(rf"[{_END}][{_END}{_CLOSING}]* ", scene):
        if mark.end() < len(scene) and unicodedata.category(scene[mark.end()]) != "Ll":
            found.append(scene[begin : mark.end() - 1])
            begin = mark.end()
    return [*found, scene[begin:]]


def _choices(text: str) -> list[str]:
    return [line[2:] for line in text.splitlines() if line.startswith("> ")]


def _is_choice(text: str) -> bool:
    begins = re.match(r"[\"'“‘«„¿¡(]?[^\W_]", text)
    if begins is None or not 2 <= len(text) <= CHOICE or text != text.rstrip(" ") or re.search(r">|  ", text):
        return False
    return all(_is_within(text, mark) for mark in re.finditer(rf"[{_END}][{_END}{_CLOSING}]*", text))


def _is_within(text: str, mark: re.Match[str]) -> bool:
    """Whether an end mark ends the choice, or the choice may go on after it."""
    after = text[mark.end() :]
    if not after:
        return True
    if mark[0] != ".":
        return after[0] == " " and unicodedata.category(after[1]) == "Ll"
    before = text[: mark.start()]
    abbreviated = unicodedata.category(before[-1]) == "Lu" or re.search(rf"{_TITLE}$", before) is not None
    decimal = unicodedata.category(before[-1]).startswith("N") and unicodedata.category(after[0]).startswith("N")
    numbered = before.endswith("No") and re.match(r" [^\W_]", after) and unicodedata.category(after[1]).startswith("N")
    return (abbreviated and after[0] == " ") or decimal or bool(numbered)


def _core(choice: str) -> str:
    """A choice without what stands around its words; two with the same words are the same choice."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", choice)


def _escaped(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$#&~-]", r"\\\g<0>", text)


def _slashes(pattern: str) -> str:
    return "/" + pattern.replace("/", r"\/") + "/"
