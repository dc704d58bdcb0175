"""What a story has put out: text, glue and tags in a list, and how that becomes a line.

The rules are ink's: a newline at the beginning or after another is none, glue swallows newlines on both its
sides, a function's text is trimmed. All of it is JSON. Knows no story.
"""

from __future__ import annotations

import re
from typing import Any

GLUE: dict[str, Any] = {"glue": True}
#: Marks of where a text that is a value, and a tag, begin and end.
TEXT, TAG, TAG_END = {"mark": "str"}, {"mark": "#"}, {"mark": "/#"}

Output = list[Any]


def put(output: Output, item: Any, frames: list[dict[str, Any]]) -> None:
    """Adds a text or glue; `frames` is the call stack, for functions trim the beginning of their text."""
    if item == GLUE:
        _trim_newlines(output)
        output.append(GLUE)
        return
    function_from = frames[-1]["out"] if frames[-1]["type"] == "function" else -1
    glue_from = -1
    for place in range(len(output) - 1, -1, -1):
        if output[place] == GLUE:
            glue_from = place
            break
        if output[place] == TEXT:
            if place >= function_from:
                function_from = -1
            break
    if glue_from >= 0 or function_from >= 0:
        if item == "\n":
            return
        if item.strip():
            if glue_from >= 0:
                _drop_glue(output)
            if function_from >= 0:
                for frame in reversed(frames):
                    if frame["type"] != "function":
                        break
                    frame["out"] = -1
    elif item == "\n" and (ends_line(output) or not any(isinstance(there, str) for there in output)):
        return
    output.append(item)


def ends_line(output: Output) -> bool:
    """Whether the last thing of weight is a newline."""
    for item in reversed(output):
        if item in (TEXT, TAG, TAG_END):
            return False
        if isinstance(item, str):
            if item == "\n":
                return True
            if item.strip():
                return False
    return False


def in_text(output: Output) -> bool:
    """Whether what is put out now is a value in the making."""
    return TEXT in output


def trim_function(output: Output, start: int) -> None:
    """Removes white space from the end of what a function put out from `start` on."""
    for place in range(len(output) - 1, max(0, start) - 1, -1):
        item = output[place]
        if item in (TEXT, TAG, TAG_END):
            return
        if isinstance(item, str):
            if item.strip():
                return
            del output[place]


def take_text(output: Output) -> str:
    """Takes off the value that was begun last."""
    place = len(output) - 1 - output[::-1].index(TEXT)
    text = "".join(item for item in output[place + 1 :] if isinstance(item, str))
    del output[place:]
    return text


def take_tag(output: Output) -> str:
    """Takes off the tag that was begun last."""
    place = len(output) - 1 - output[::-1].index(TAG)
    text = "".join(item for item in output[place + 1 :] if isinstance(item, str))
    del output[place:]
    return clean(text)


def line_of(output: Output) -> tuple[str, list[str]]:
    """The text and the tags of what was put out."""
    text, tags, tag = "", [], None
    for item in output:
        if item == TAG:
            tag = ""
        elif item == TAG_END:
            tags.append(clean(tag or ""))
            tag = None
        elif isinstance(item, str) and tag is not None:
            tag += item
        elif isinstance(item, str):
            text += item
        elif isinstance(item, dict) and "tag" in item:
            tags.append(clean(item["tag"]))
    # White space at the beginning and before the end of a line is none, and any other is one space.
    text = re.sub(r"(?m)^[ \t]+|[ \t]+$", "", re.sub(r"[ \t]+", " ", text))
    return text, tags


def clean(text: str) -> str:
    """A text without white space around it or twice within."""
    return " ".join(text.split())


def _trim_newlines(output: Output) -> None:
    remove_from = -1
    for place in range(len(output) - 1, -1, -1):
        item = output[place]
        if item in (TEXT, TAG, TAG_END) or (isinstance(item, str) and item.strip()):
            break
        if item == "\n":
            remove_from = place
    if remove_from >= 0:
        output[remove_from:] = [item for item in output[remove_from:] if not isinstance(item, str)]


def _drop_glue(output: Output) -> None:
    for place in range(len(output) - 1, -1, -1):
        if output[place] == GLUE:
            del output[place]
        elif output[place] in (TEXT, TAG, TAG_END):
            return
