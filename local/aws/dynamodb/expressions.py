"""DynamoDB's expressions: conditions on an item, and updates of one.

Only what one small table uses: comparisons, `AND`, `OR`, `NOT`, `BETWEEN`, `attribute_exists`,
`attribute_not_exists` and `begins_with`; `SET` (with `if_not_exists`), `ADD` and `REMOVE`. Anything
else is refused, as DynamoDB refuses what it cannot read. Attribute values are of the types S and N.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Item = dict[str, dict[str, Any]]

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[:#]?[A-Za-z_][A-Za-z0-9_]*)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class ExpressionError(ValueError):
    """An expression that cannot be read."""


class Expression:
    """One expression, read from left to right against an item."""

    def __init__(self, text: str, item: Item, names: dict[str, str], values: Item) -> None:
        self._tokens = _split(text)
        self._place = 0
        self._item, self._names, self._values = item, names, values

    def holds(self) -> bool:
        """Whether the condition holds for the item."""
        result = self._either()
        if self._place != len(self._tokens):
            raise ExpressionError(f"unexpected {self._tokens[self._place]!r}")
        return result

    def update(self) -> set[str]:
        """Changes the item; returns the attributes that were written."""
        written: set[str] = set()
        while (clause := self._next()) is not None:
            if clause not in ("SET", "ADD", "REMOVE"):
                raise ExpressionError(f"unexpected {clause!r}")
            while True:
                written.add(self._change(clause))
                if not self._take(","):
                    break
        return written

    def _change(self, clause: str) -> str:
        name = self._name()
        if clause == "REMOVE":
            self._item.pop(name, None)
        elif clause == "SET":
            self._expect("=")
            self._item[name] = self._assigned()
        else:
            before = Decimal(self._item.get(name, {"N": "0"})["N"])
            self._item[name] = {"N": str(before + Decimal(self._value()["N"]))}
        return name

    def _assigned(self) -> dict[str, Any]:
        if not self._take("if_not_exists"):
            return self._value()
        self._expect("(")
        name = self._name()
        self._expect(",")
        value = self._value()
        self._expect(")")
        return self._item.get(name, value)

    # --- conditions -----------------------------------------------------------------------------

    def _either(self) -> bool:
        result = self._both()
        while self._take("OR"):
            other = self._both()
            result = result or other
        return result

    def _both(self) -> bool:
        result = self._one()
        while self._take("AND"):
            other = self._one()
            result = result and other
        return result

    def _one(self) -> bool:
        if self._take("NOT"):
            return not self._one()
        if self._take("("):
            result = self._either()
            self._expect(")")
            return result
        for function in ("attribute_exists", "attribute_not_exists", "begins_with"):
            if self._take(function):
                return self._call(function)
        left = self._operand()
        operator = self._next()
        if operator == "BETWEEN":
            low = self._operand()
            self._expect("AND")
            high = self._operand()
            return left is not None and low is not None and high is not None and low <= left <= high
        if operator not in _COMPARE:
            raise ExpressionError(f"unexpected {operator!r}")
        right = self._operand()
        return left is not None and right is not None and _COMPARE[operator](left, right)

    def _call(self, function: str) -> bool:
        self._expect("(")
        name = self._name()
        result = name in self._item
        if function == "begins_with":
            self._expect(",")
            start = str(plain(self._value()))
            result = result and str(plain(self._item[name])).startswith(start)
        self._expect(")")
        return not result if function == "attribute_not_exists" else result

    def _operand(self) -> Any:
        token = self._peek()
        if token is not None and token.startswith(":"):
            return plain(self._value())
        name = self._name()
        return plain(self._item[name]) if name in self._item else None

    # --- tokens ---------------------------------------------------------------------------------

    def _peek(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _next(self) -> str | None:
        token = self._peek()
        self._place += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._place += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ExpressionError(f"expected {token!r}, found {self._peek()!r}")

    def _name(self) -> str:
        token = self._next() or ""
        if token.startswith("#"):
            if token not in self._names:
                raise ExpressionError(f"{token} has no name")
            return self._names[token]
        if not token or not token[0].isalpha():
            raise ExpressionError(f"expected an attribute, found {token!r}")
        return token

    def _value(self) -> dict[str, Any]:
        token = self._next() or ""
        if token not in self._values:
            raise ExpressionError(f"{token} has no value")
        return self._values[token]


def plain(value: dict[str, Any]) -> Any:
    """An attribute value as Python's own: a number or text."""
    return Decimal(value["N"]) if "N" in value else value.get("S")


def _split(text: str) -> list[str]:
    tokens, place = [], 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ExpressionError(f"cannot read {text[place:]!r}")
        tokens.append(match[1])
        place = match.end()
    return tokens
