"""Chat templates: the Jinja program that turns messages into the text a model was trained on.

The environment is the one transformers documents for template authors (sandboxed, trimmed blocks,
`raise_exception`, `strftime_now`, `tojson` without HTML escapes, `{% generation %}` blocks), so any
published template renders the same. Two things are settled before a template is used, in training
as in what is exported: whether the model thinks first (`without_thinking`) and which day it is
(`on_day`).
"""

from __future__ import annotations

import datetime
import json
import re
import traceback
from typing import ClassVar

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from dftfast.runtime.errors import UserError

# ends in a line break, which the block swallows, so that what follows begins a line as before
_NO_THINKING = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = false %}{% endif %}\n"
)
_CLOSED = "{% if add_generation_prompt %}{{ '\\n</think>\\n\\n' }}{% endif %}"
_DATE = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


class _Generation(jinja2.ext.Extension):
    """`{% generation %} ... {% endgeneration %}` marks the assistant's words, rendered as such."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _raise_exception(message: str):
    raise jinja2.TemplateError(message)


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def without_thinking(source: str, where: str) -> tuple[str, bool]:
    """The template that answers at once unless told otherwise, and whether it had opened a thought.

    A template that asks `enable_thinking` (Qwen3, SmolLM3) takes it as false where nothing is said.
    One that opens `<think>` in front of every answer (distilled reasoners) closes it there: a text
    that is learnt after it would be learnt as a thought.
    """
    if "enable_thinking" in source and not source.startswith(_NO_THINKING):
        source = _NO_THINKING + source
    if "<think>" not in source:
        return source, False
    probe = [{"role": "user", "content": "?"}]
    try:
        template = compile_template(source, where)
        prompt = render(template, messages=probe, add_generation_prompt=True)
    except UserError:  # it refuses the probe; that it can be rendered at all is not for here
        return source, False
    opened = "</think>" not in prompt.rpartition("<think>")[2] and "<think>" in prompt
    return (source.removesuffix("\n") + _CLOSED, True) if opened else (source, False)


def on_day(source: str, day: datetime.date) -> str:
    """The template with the day that it is given in place of every call for today's date."""
    return _DATE.sub(lambda call: json.dumps(day.strftime(call[2])), source)


def compile_template(source: str, where: str) -> jinja2.Template:
    """The compiled template. `where` names the file it came from in errors."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(
            f"{where}: chat template, line {error.lineno}: not valid Jinja: {error.message}"
        ) from error
    except RecursionError:
        raise UserError(f"{where}: chat template: nested too deeply") from None


def render(template: jinja2.Template, **variables) -> str:
    """The text of the template.

    Raises:
        UserError: the template refuses, or fails, which it may in any way that an expression can;
            the message says at which of its lines.
    """
    try:
        text = template.render(**variables)
        text.encode()
        return text
    except UnicodeEncodeError:
        raise UserError("the chat template makes half of a surrogate pair, not text") from None
    except (jinja2.TemplateError, RecursionError) as error:
        raise UserError(f"the chat template refused the messages: {error}") from error
    except Exception as error:
        places = traceback.extract_tb(error.__traceback__)
        lines = [place.lineno for place in places if place.filename == "<template>"]
        where = f", line {lines[-1]}" if lines else ""
        raise UserError(
            f"the chat template{where} fails on these messages ({type(error).__name__}: {error})"
        ) from error
