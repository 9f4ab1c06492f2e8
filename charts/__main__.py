"""`python -m charts`: Marathon apps from values, on the screen or as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from charts.parsers import InvalidValues
from charts.render import HERE, NAMES, InvalidApp, parse_strictly, render_app
from charts.values import FORMS


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make the Marathon apps that run the product."""


@main.command()
@click.option(
    "--values",
    "values_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=HERE / "values.example.json",
    show_default="charts/values.example.json",
    help="What the apps are made of.",
)
@click.option(
    "--form",
    type=click.Choice(FORMS),
    help="For Marathon up to 1.4, or from 1.5 on.  [default: as the values say, else ipaddress]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write NAME.json.  [default: standard output]",
)
@click.argument("names", metavar="[NAME]...", nargs=-1, type=click.Choice(NAMES))
def render(values_file: Path, form: str | None, out: Path | None, names: tuple[str, ...]) -> None:
    """Render these apps, or all; each is checked against Marathon's schema.

    On standard output one app is an object, several are a list.
    """
    try:
        values: dict[str, Any] = parse_strictly(values_file.read_text())
        if form is not None:
            values["form"] = form
        apps = {name: render_app(name, values) for name in names or NAMES}
    except (InvalidValues, InvalidApp, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{values_file}: {error}") from error
    if out is None:
        shown = list(apps.values()) if len(apps) > 1 else next(iter(apps.values()))
        click.echo(json.dumps(shown, indent=2))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, app in apps.items():
        path = out / f"{name}.json"
        path.write_text(json.dumps(app, indent=2) + "\n")
        click.echo(path)


if __name__ == "__main__":
    main(prog_name="python -m charts")
