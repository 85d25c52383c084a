"""How long one of three backends that fails still gets requests, and what clients notice.

    python bench/detection.py [--rounds 5] [--record]

Eight clients ask for ever new things, for ten seconds while all is well; then a backend fails in
one of several ways. The control API tells how many requests it gets from then on, and when the
last. It is left out for longer than is looked, so that its return is not counted. The settings are
the defaults but for a first-byte deadline of a second (and for slowness, which is no failure by
default). Once more without any client, where only health checks can tell. Recorded in
bench/results/detection-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench import record  # noqa: E402
from bench.errors import BenchError  # noqa: E402
from tests.functional.support.backends import Backend  # noqa: E402
from tests.functional.support.balancing import OUT, Balanced, balanced  # noqa: E402
from tests.functional.support.crowd import Crowd, crowd  # noqa: E402
from tests.functional.support.faults import FAULTS  # noqa: E402
from tests.functional.support.waiting import wait_until  # noqa: E402

LONG = ("--eject-time", "60s", "--circuit-open-time", "60s", "--origin-head-timeout", "1s")
ASKED = {name: () for name in FAULTS if name != "reset at accept"}  # which is killed at first
ASKED["slow"] = ("--circuit-latency", "50ms")
UNASKED = {"killed": (), "hung": ("--health-check", "http")}
WELL = 10.0  # seconds before a fault
LOOKED = 1.5  # seconds for which it is out and gets nothing
PATIENCE = 30.0  # seconds
PAUSE = 0.005
Found = dict[str, list[float]]
"""Figures by name, one a round."""


def watch(stand: Balanced, backend: Backend, requests: int, begun: float) -> tuple[float, float]:
    """Wait until it is left alone: when (monotonic) it was left out, and got its last request.

    It had had so many `requests` before.
    """
    last = out = begun
    while True:
        server, now = stand.server(backend), time.monotonic()
        if server["state"] not in OUT:
            out = now
        if server["requests"] != requests:
            requests, last = server["requests"], now
        if now > max(out, last) + LOOKED:
            return out, last
        if now > begun + PATIENCE:
            raise BenchError(f"not detected in {PATIENCE:g} s: {server}")
        time.sleep(PAUSE)


def one_round(name: str, load: Crowd, stand: Balanced, found: Found) -> None:
    """Have the first backend fail once."""
    bad = stand.servers[0]
    end = time.monotonic() + WELL
    while time.monotonic() < end:
        load.go_on(1)
    before, requests = len(load.answers), stand.server(bad)["requests"]
    begun = time.monotonic()
    FAULTS[name].begin(bad)
    out, last = watch(stand, bad, requests, begun)
    load.go_on(1)
    if load.wrong:
        raise BenchError(f"{name}: a client noticed: {load.wrong[0]}")
    found["requests a second before"].append(before / WELL)
    found["ms until it is left out"].append((out - begun) * 1e3)
    found["ms until its last request"].append((last - begun) * 1e3)
    found["requests that it got"].append(stand.server(bad)["requests"] - requests)
    found["ms of the longest answer"].append(
        max(answer.took for answer in load.answers[before:]) * 1e3
    )
    FAULTS[name].end(bad)


def asked(name: str, rounds: int) -> Found:
    found: Found = defaultdict(list)
    for _ in range(rounds):
        with (
            balanced(*LONG, *ASKED[name], quick=False) as stand,
            crowd(stand.proxy.address) as load,
        ):
            one_round(name, load, stand, found)
    return found


def unasked(name: str) -> float:
    """Have a backend fail that nobody asks, right after a check; seconds until it is down."""
    with balanced(*UNASKED[name], quick=False) as stand:
        bad = stand.servers[0]
        wait_until(lambda: stand.server(bad)["check"], "its first check")
        begun = time.monotonic()
        FAULTS[name].begin(bad)
        stand.wait_state(bad, "down")
        took = time.monotonic() - begun
        FAULTS[name].end(bad)
    return took


def summary(found: Found) -> dict[str, list[float]]:
    """The median and the greatest of each."""
    return {
        name: [round(median(figures), 1), round(max(figures), 1)] for name, figures in found.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(options.rounds, 0)
    told = {}
    try:
        for name in ASKED:
            told[name] = summary(asked(name, options.rounds))
            print(name, told[name], flush=True)
        for name in UNASKED:
            took = [unasked(name) * 1e3 for _ in range(options.rounds)]
            told[f"{name}, no clients"] = summary({"ms until it is down": took})
            print(f"{name}, no clients", told[f"{name}, no clients"], flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.record:
        name = record.Record(facts, []).name
        path = ROOT / "bench" / "results" / f"detection-{name}.json"
        path.write_text(json.dumps({**facts, "median and greatest": told}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
