"""A checkpoint's chat template: Jinja from a stranger, rendered within bounds of time and size."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: The most characters of a template, of any text in it, and of a prompt; and the most seconds of CPU time for one.
TEMPLATE_CHARACTERS, CHARACTERS, SECONDS = 1 << 20, 1 << 23, 5.0


class ChatTemplateError(ValueError):
    """Why a template is broken, or what it says against the messages."""


class ChatTemplate:
    """Renders chat messages as Hugging Face's libraries do. Raises ChatTemplateError for a broken template."""

    def __init__(self, source: str) -> None:
        if len(source) > TEMPLATE_CHARACTERS:
            raise ChatTemplateError(f"it has {len(source):,} characters")
        environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters = {name: _bounded(function) for name, function in environment.filters.items()}
        environment.filters["format"] = _format
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        # `strftime_now` is left out on purpose: a prompt that changes with the date would never
        # match a prefix computed at build time. Llama's own templates then name a fixed day.
        try:
            self._template = environment.from_string(source)
        except RecursionError:
            raise ChatTemplateError("it is nested too deeply") from None
        except (TemplateError, SyntaxError, MemoryError, ValueError) as error:
            raise ChatTemplateError(str(error) or type(error).__name__) from None

    def render(self, messages: Sequence[Mapping[str, str]], specials: Mapping[str, str]) -> str:
        """The prompt, ready for the assistant's reply."""
        parts: list[str] = []
        size, deadline = 0, time.thread_time() + SECONDS
        before = sys.gettrace()
        sys.settrace(_watch(deadline))
        try:
            for part in self._template.generate(messages=messages, add_generation_prompt=True, **specials):
                size += len(part)
                if size > CHARACTERS:
                    raise ChatTemplateError(f"it writes more than {CHARACTERS:,} characters")
                parts.append(part)
        except RecursionError:
            raise ChatTemplateError("it calls itself without end") from None
        except ChatTemplateError:
            raise
        except Exception as error:  # a template's own mistakes: a missing key, a text added to a number
            raise ChatTemplateError(str(error) or type(error).__name__) from None
        finally:
            sys.settrace(before)
        return "".join(parts)


class _CodeGenerator(CodeGenerator):
    """`a ~ b` becomes a call of the environment, which bounds it."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - jinja's own name
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(["+", "*", "**", "%"])

    @staticmethod
    def concatenate(parts: Sequence[Any]) -> str:
        return str(_checked("".join(str(_checked(part)) for part in parts)))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for text, count in ((left, right), (right, left)):
                if hasattr(text, "__len__") and isinstance(count, int) and len(text) * count > CHARACTERS:
                    raise ChatTemplateError("it makes a text too long")
        if operator in ("*", "**", "%") and any(
            isinstance(side, int) and abs(side) > 1 << 64 for side in (left, right)
        ):
            raise ChatTemplateError("it calculates with numbers too large")
        if operator == "**" and isinstance(right, int) and right > 64:
            raise ChatTemplateError("it calculates with numbers too large")
        if operator == "%" and isinstance(left, str):
            _check_format(left)
            _check_arguments(right if isinstance(right, tuple) else [right], {})
        return _checked(super().call_binop(context, operator, left, right))

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        if getattr(function, "__name__", "") in ("format", "format_map"):
            method = getattr(function, "__wrapped__", function)  # the sandbox puts its own around it
            _check_format(getattr(method, "__self__", ""))
        _check_arguments(arguments, named)
        return _checked(super().call(context, function, *arguments, **named))


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that takes no large number and gives no long text."""

    def bounded(*arguments: Any, **named: Any) -> Any:
        _check_arguments(arguments, named)
        return _checked(function(*arguments, **named))

    bounded.__dict__.update(getattr(function, "__dict__", {}))  # what jinja passes as its first argument
    return bounded


def _check_arguments(arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
    for value in (*arguments, *named.values()):
        if isinstance(value, int) and abs(value) > 100_000:
            raise ChatTemplateError("it asks for a text too long")


def _check_format(text: Any) -> None:
    if re.search(r"\d{6}", str(text)):  # a width
        raise ChatTemplateError("it asks for a text too long")


def _format(text: Any, *arguments: Any) -> str:
    _check_format(text)
    _check_arguments(arguments, {})
    return str(_checked(str(text) % arguments))


def _checked(value: Any) -> Any:
    if isinstance(value, str | list | tuple | dict) and len(value) > CHARACTERS:
        raise ChatTemplateError("it makes a text too long")
    return value


def _watch(deadline: float) -> Callable[[FrameType, str, Any], Any]:
    """A trace function, called at each line of the template, that ends one without an end."""

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > deadline:
            raise ChatTemplateError(f"it computes for longer than {SECONDS:g} seconds")
        return watch if frame.f_code.co_filename == "<template>" else None

    return watch


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    return str(_checked(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)))


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
