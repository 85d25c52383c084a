"""`caching-proxy start`: serve until told to end."""

from __future__ import annotations

from typing import Any

from caching_proxy.cli.options import (
    SettingsCommand,
    config_option,
    load_configuration,
    load_sources,
    setting_options,
)
from caching_proxy.settings import Settings


def _start(config: str | None, **options: Any) -> None:
    sources = load_sources(options, config)
    configuration = load_configuration(sources)
    from caching_proxy.cli.serve import serve  # late: --help and wrong flags need no server

    serve(sources, configuration)


command = SettingsCommand(
    "start",
    params=[config_option(), *setting_options(Settings)],
    callback=_start,
    help="Start the proxy in front of an origin. SIGTERM or Ctrl-C drains it, a second one ends"
    " it at once. Sizes take KB, MB, GB or TB (powers of 1024), durations ms, s, m, h or d.",
    short_help="Start the proxy in front of an origin.",
)
