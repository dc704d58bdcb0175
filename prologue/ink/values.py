"""Values of ink: numbers, booleans, strings and targets of diverts, and the functions on them.

A target is `{"->": path}`, a variable passed by reference `{"ref": name, "at": frame}`, nothing is None. All of
them are JSON. Knows no story.
"""

from __future__ import annotations

import math
from typing import Any

from prologue.ink.content import InkError

_MODULUS = 2_147_483_647
#: How a writer knows the functions that are compiled to another name.
_SHOWN = {"_": "-", "srnd": "SEED_RANDOM", "rnd": "RANDOM", "?": "has", "!?": "hasnt"}


def truth(value: Any) -> bool:
    """Whether a condition holds."""
    if isinstance(value, dict):
        raise InkError("a condition is a divert target, not a number; did you mean to count its visits?")
    return bool(value)


def shown(value: Any) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.7g}"
    return "" if value is None else str(value)


def apply(function: str, stack: list[Any]) -> Any:
    """Takes a function's arguments off the stack and gives its value. Raises `InkError` where it has none."""
    try:
        value = _apply(function, stack)
        if not isinstance(value, int | float) or math.isfinite(value):
            return value
    except (ArithmeticError, TypeError, ValueError):
        pass
    raise InkError(f"`{_SHOWN.get(function, function)}` is given values for which it has no result")


def _apply(function: str, stack: list[Any]) -> Any:
    if function in ("_", "!", "FLOOR", "CEILING", "INT", "FLOAT"):
        (value,) = _pop(stack, 1)
        if function == "!":
            return not truth(value)
        number = _number(value, function)
        match function:
            case "_":
                return -number
            case "FLOOR":
                return math.floor(number)
            case "CEILING":
                return math.ceil(number)
        return int(number) if function == "INT" else float(number)
    one, other = _pop(stack, 2)
    if function in ("&&", "||"):
        return truth(one) and truth(other) if function == "&&" else truth(one) or truth(other)
    if isinstance(one, dict) or isinstance(other, dict):
        if function in ("==", "!="):
            return (one == other) == (function == "==")
        raise InkError(f"`{_SHOWN.get(function, function)}` cannot be done with a divert target")
    if isinstance(one, str) or isinstance(other, str):
        return _on_texts(function, shown(one), shown(other))
    return _on_numbers(function, _number(one, function), _number(other, function))


def _on_texts(function: str, one: str, other: str) -> Any:
    match function:
        case "+":
            return one + other
        case "==":
            return one == other
        case "!=":
            return one != other
        case "?":
            return other in one
        case "!?":
            return other not in one
    raise InkError(f"`{_SHOWN.get(function, function)}` cannot be done with a text ({one!r} and {other!r})")


def _on_numbers(function: str, one: float, other: float) -> Any:
    if function in ("/", "%") and other == 0:
        raise InkError(f"it divides {shown(one)} by zero")
    whole = isinstance(one, int) and isinstance(other, int)
    match function:
        case "+":
            return one + other
        case "-":
            return one - other
        case "*":
            return one * other
        case "/":
            return one // other if whole else one / other
        case "%":
            return int(math.fmod(one, other)) if whole else math.fmod(one, other)
        case "POW":
            math.pow(one, other)  # refuses what is too large or no real number, before it is worked out
            return one**other
        case "MIN":
            return min(one, other)
        case "MAX":
            return max(one, other)
        case "==":
            return one == other
        case "!=":
            return one != other
        case "<":
            return one < other
        case ">":
            return one > other
        case "<=":
            return one <= other
        case ">=":
            return one >= other
    raise InkError(f"`{function}` cannot be done with numbers")


def draw(seed: int) -> int:
    """The number that follows a seed, from 1 on: the generator inkjs has, so that shuffles agree with it."""
    seed %= _MODULUS
    return seed * 48_271 % _MODULUS if seed > 0 else (seed + _MODULUS - 1) * 48_271 % _MODULUS


def draw_between(drawn: int, stack: list[Any]) -> int:
    """Takes the least and the most off the stack and gives the number between them that was drawn."""
    least, most = (_whole(value, "rnd") for value in _pop(stack, 2))
    if most < least:
        raise InkError(f"`RANDOM` is asked for a number from {least} to {most}; give it the smaller one first")
    return drawn % (most - least + 1) + least


def read_seed(stack: list[Any]) -> int:
    """Takes a seed off the stack."""
    return _whole(_pop(stack, 1)[0], "srnd")


def _pop(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise InkError("a calculation lacks a value")
    taken = stack[-count:]
    del stack[-count:]
    if None in taken:
        raise InkError("a function that returns nothing is used as a value; let it `~ return` one")
    return taken


def _whole(value: Any, function: str) -> int:
    if not isinstance(value, int):
        raise InkError(f"`{_SHOWN.get(function, function)}` needs whole numbers, and is given {_told(value)}")
    return int(value)


def _number(value: Any, function: str) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | dict):
        raise InkError(f"`{_SHOWN.get(function, function)}` cannot be done with {_told(value)}")
    return value


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "a divert target"
    return f"the text {value!r}" if isinstance(value, str) else shown(value)
