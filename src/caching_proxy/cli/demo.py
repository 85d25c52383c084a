"""`caching-proxy demo`: the proxy in front of a small origin of its own."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from caching_proxy.cli.options import (
    SettingsCommand,
    load_configuration,
    load_sources,
    setting_options,
)
from caching_proxy.settings import Settings


def _demo(**options: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        store = options.get("store") or "memory"
        sources = load_sources({**options, "origin": origin, "store": store}, None, use_file=False)
        configuration = load_configuration(sources)
        from caching_proxy.cli.serve import serve  # late: --help and wrong flags need no server
        from caching_proxy.demo.origin import running

        with running(listener):
            serve(sources, configuration, _hints)


def _hints(addresses: list[str]) -> list[str]:
    base = f"http://localhost:{urlsplit(addresses[0]).port}"
    return [
        "Try these (twice: X-Cache says MISS, then HIT), or read what else there is at /:",
        f"  curl -i {base}/products/1",
        f"  curl -i {base}/slow",
        f"  curl -sD - -o image.png {base}/image",
    ]


command = SettingsCommand(
    "demo",
    params=setting_options(Settings, without=["origin"]),
    callback=_demo,
    help="Start the proxy in front of a small demo origin on a free port of this machine. The"
    " options are those of start.",
    short_help="Start the proxy in front of a small demo origin.",
)
