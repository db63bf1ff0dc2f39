"""Jinja2, set up once. A missing name in a template is an error, not an empty string."""

from __future__ import annotations

from pathlib import Path

import jinja2

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def render(template: str, **values) -> str:
    return _environment.get_template(template).render(**values)


def register(**filters) -> None:
    """Makes Python functions callable from templates."""
    _environment.filters.update(filters)
