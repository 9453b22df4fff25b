"""How every command shows its help: short names of values, choices in the text, and examples at the end."""

from __future__ import annotations

import re
import shutil
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from edge_segface.cli.examples import EXAMPLES

LONGEST_CHOICES = 9  # characters of choices that stand beside an option; more are listed in its help
NARROWEST_PANELS = 72  # columns; below, help is plain text
VALUE_NAMES = {Path: "PATH", int: "N", float: "X", str: "TEXT"}
JSON_FILE = "--json-file"  # hidden: `--json FILE` of commands whose `--json` may stand alone
MODEL_SUFFIXES = (".onnx", ".xml", ".param", ".engine", ".pt", ".pth")


class Group(TyperGroup):
    """The table of commands; its flags show no type."""

    def get_params(self, ctx: Any) -> list[Any]:
        return flags_without_type(super().get_params(ctx))


class Command(TyperCommand):
    """A command with examples at the end of its help; a `--json` that may stand alone also takes a file."""

    def get_params(self, ctx: Any) -> list[Any]:
        return flags_without_type(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = shutil.get_terminal_size().columns
        examples = examples_text(EXAMPLES[self.name or ""], width)
        if width < NARROWEST_PANELS:  # the five columns of a panel would cut words
            self.rich_markup_mode = None
        super().format_help(ctx, formatter)
        if self.rich_markup_mode is None:  # this help is in the formatter; panels are printed by now
            formatter.write(f"\n{examples}\n")
        else:
            typer.echo(examples, color=ctx.color)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(JSON_FILE in parameter.opts for parameter in self.params):
            args = with_json_file(args)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def flags_without_type(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def with_json_file(arguments: Sequence[str]) -> list[str]:
    """Turn `--json FILE` into `--json --json-file FILE`. A MODEL may follow a `--json` that stands alone."""
    found: list[str] = []
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if name in ("--json", "-j") and sign:
            found += [name, JSON_FILE, value]
        elif found and found[-1] in ("--json", "-j") and is_json_file(argument):
            found += [JSON_FILE, argument]
        else:
            found.append(argument)
    return found


def is_json_file(argument: str) -> bool:
    suffix = Path(argument).suffix.lower()
    return bool(suffix) and not argument.startswith("-") and suffix not in MODEL_SUFFIXES


def examples_text(examples: Sequence[tuple[str, str]], width: int) -> str:
    """Return the examples as lines that can be copied, wrapped between words for a terminal of this width."""
    lines = ["Examples:"]
    for purpose, command in examples:
        comment = textwrap.wrap(purpose, width, initial_indent="  # ", subsequent_indent="  # ")
        lines += [typer.style(line, dim=True) for line in comment]
        wrapped = textwrap.wrap(
            command, width - 2, initial_indent="  ", subsequent_indent="      ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        lines.append(" \\\n".join(wrapped))
    return "\n".join(lines)


def name_values(function: Callable[..., None]) -> None:
    """Name the values of a command's options shortly, so that no help breaks a word; choices go into the text."""
    hints = typing.get_type_hints(function, include_extras=True)
    function.__annotations__ = hints  # typer reads them from here; strings would be evaluated to new objects
    for parameter, hint in hints.items():
        kind, *metadata = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
        for info in metadata:
            if isinstance(info, ArgumentInfo | OptionInfo) and info.metavar is None:
                choices = choices_of(kind)
                is_argument = isinstance(info, ArgumentInfo)
                info.metavar = parameter.upper() if is_argument else value_name(kind, choices)
                mentioned = set(re.findall(r"[\w-]+", info.help or ""))
                if info.metavar == "NAME" and not set(choices) <= mentioned:
                    info.help = f"{info.help or ''} One of {listed(choices)}.".strip()


def choices_of(kind: Any) -> list[str]:
    if typing.get_origin(kind) is typing.Literal:
        return [str(choice) for choice in typing.get_args(kind)]
    return [choice for inner in typing.get_args(kind) for choice in choices_of(inner)]


def value_name(kind: Any, choices: Sequence[str]) -> str:
    if choices:
        shown = "|".join(choices)
        return shown if len(shown) <= LONGEST_CHOICES else "NAME"
    inner = [each for each in typing.get_args(kind) if each is not types.NoneType]
    if kind is bool or inner == [bool]:
        return ""
    if kind in VALUE_NAMES:
        return VALUE_NAMES[kind]
    if typing.get_origin(kind) is tuple:
        return " ".join(value_name(each, ()) for each in inner)
    return value_name(inner[0], ()) if inner else "TEXT"


def listed(choices: Sequence[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
