"""`caching-proxy explain`: how a running proxy would answer a request, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from caching_proxy.cli.control_client import ask
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.inputs import shown
from caching_proxy.settings import StoreSettings

# What browsers, programs and proxies commonly send, framing aside.
_COMMON_FIELDS = (
    *(
        "Accept",
        "Accept-Charset",
        "Accept-Encoding",
        "Accept-Language",
        "Access-Control-Request-Method",
    ),
    *(
        "Authorization",
        "Cache-Control",
        "CF-Connecting-IP",
        "Client-IP",
        "Cookie",
        "DNT",
        "Early-Data",
    ),
    *("Forwarded", "From", "Front-End-Https", "If-Modified-Since", "If-None-Match", "Max-Forwards"),
    *("Origin", "Pragma", "Prefer", "Priority", "Proxy", "Referer", "Save-Data", "Sec-CH-UA"),
    *("Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-GPC"),
    *("Sec-Fetch-Site", "Sec-Fetch-User", "TE", "True-Client-IP", "Upgrade-Insecure-Requests"),
    *("User-Agent", "Via", "X-Client-IP", "X-CSRF-Token", "X-Forwarded-For", "X-Forwarded-Host"),
    *("X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Server"),
    *(
        "X-Forwarded-Scheme",
        "X-Forwarded-SSL",
        "X-Host",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ),
    *("X-Original-Host", "X-Real-IP", "X-Request-ID", "X-Requested-With", "X-Rewrite-URL"),
)


def _explain(url: str, unkeyed: bool, as_json: bool, **options: Any) -> None:
    method, content = options.pop("method"), options.pop("content")
    fields = [_field(line) for line in options.pop("header")]
    settings = load_settings(StoreSettings, options)
    if unkeyed:
        given = {name.lower() for name, _ in fields}
        fields += [(name, "x") for name in _COMMON_FIELDS if name.lower() not in given]
    asked = {"url": url, "method": method, "fields": fields, "content": content}
    report = ask(settings, "POST", "/explain", asked)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif unkeyed:
        click.echo("\n".join(_unkeyed(report)))
    else:
        click.echo("\n".join([f"{method} {url}", *_lines(report, "  ")]))


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"-H {shown(line)} is no field: write 'Name: value'")
    return name.strip(), value.strip()


def _lines(value: dict[str, Any], indent: str) -> Iterator[str]:
    """The report as indented text; what is empty is left out."""
    for name, content in value.items():
        if content in (None, [], {}, ""):
            continue
        if isinstance(content, dict):
            yield f"{indent}{name}:"
            yield from _lines(content, indent + "  ")
        elif isinstance(content, list) and isinstance(content[0], dict):
            for number, member in enumerate(content, 1):
                yield f"{indent}{name} {number} of {len(content)}:"
                yield from _lines(member, indent + "  ")
        elif isinstance(content, list):
            yield f"{indent}{name}: {', '.join(map(str, content))}"
        elif isinstance(content, bool):
            yield f"{indent}{name}: {'yes' if content else 'no'}"
        else:
            yield f"{indent}{name}: {content}"


def _unkeyed(report: dict[str, Any]) -> Iterator[str]:
    yield from _lines({"fields": report.get("fields", {})}, "")
    yield (
        "Any other field goes to the origin as well and is not in the key: where one changes the"
        " answer, the origin must name it in Vary, or --key-header must."
    )


command = SettingsCommand(
    "explain",
    params=[
        *setting_options(StoreSettings),
        click.Argument(["url"], default="/"),
        click.Option(
            ["-H", "--header"], multiple=True, metavar="FIELD", help="'Name: value'.  [repeatable]"
        ),
        click.Option(["-X", "--method"], default="GET", help="The method.  [default: GET]"),
        click.Option(["-d", "--content"], default="", help="The request's content."),
        click.Option(
            ["--unkeyed"],
            is_flag=True,
            help="List the usual request fields that reach the origin without being in the key.",
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
    ],
    callback=_explain,
    help="Tell how a running proxy would answer a request now, and why: the key and its parts,"
    " what is stored, its age and where its lifetime came from, what decided.",
)
