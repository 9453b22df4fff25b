"""Hooks of the documentation site: the command reference is generated from the command line itself."""

from __future__ import annotations

from typing import Any

import typer

from edge_segface.cli import COMMANDS, app
from edge_segface.cli.examples import EXAMPLES


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in `{{ commands }}`."""
    return markdown.replace("{{ commands }}", command_reference()) if "{{ commands }}" in markdown else markdown


def command_reference() -> str:
    """Describe every command: its summary, arguments, options and examples."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = []
    for group, names in COMMANDS.items():
        lines += [f"## {group}", ""]
        for name in names:
            command = known[name]
            lines += [f"### {name}", "", command.help or "", "", "| Option | Meaning |", "|---|---|"]
            shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
            lines += [f"| {names_of(parameter)} | {meaning_of(parameter)} |" for parameter in shown]
            examples = (part for purpose, line in EXAMPLES[name] for part in (f"# {purpose}", line))
            lines += ["", "```sh", *examples, "```", ""]
    return "\n".join(lines)


def names_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def meaning_of(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split()).replace("|", r"\|")
    default = parameter.default() if callable(parameter.default) else parameter.default
    if parameter.required:
        return f"{text} **Required.**"
    if default not in (None, False, ()) and "Default" not in text:
        text += f" Default: {default}."
    return text
