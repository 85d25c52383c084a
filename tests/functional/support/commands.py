"""Commands of ours that end by themselves."""

from __future__ import annotations

import subprocess
import sys

from .proxy import environment


def command(verb: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What `caching-proxy VERB` has printed, and its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "caching_proxy", verb, *options],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
