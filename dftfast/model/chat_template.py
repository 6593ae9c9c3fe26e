"""Chat templates: the Jinja program that turns messages into the text a model was trained on.

The environment is the one transformers documents for template authors (sandboxed, trimmed blocks,
`raise_exception`, `strftime_now`, `tojson` without HTML escapes, `{% generation %}` blocks), so any
published template renders the same.
"""

from __future__ import annotations

import datetime
import json
from typing import ClassVar

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from dftfast.runtime.errors import UserError


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


def render(template: jinja2.Template, **variables) -> str:
    try:
        return template.render(**variables)
    except jinja2.TemplateError as error:
        raise UserError(f"the chat template refused the messages: {error}") from error
