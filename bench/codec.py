"""What it costs to write and read a stored response: our layout beside pickle 5.

    python bench/codec.py [--record]

The pickle is of a plain tuple of the same values, the cheapest that pickle has; reading ours also
checks sizes and head. Recorded in bench/results/codec-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench import record  # noqa: E402
from caching_proxy.cache_manager.cache_key import Variants, key_digest  # noqa: E402
from caching_proxy.cache_manager.codec import decode, encode  # noqa: E402
from caching_proxy.cache_manager.entry import Entry  # noqa: E402
from caching_proxy.cache_manager.purge_log import Stamp  # noqa: E402
from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource  # noqa: E402
from caching_proxy.cache_manager.rfc9111.storable import Storable  # noqa: E402

NUMBER = 50_000
REPEATS = 7
SIZES = (0, 1024, 65536)  # octets of body
URL = b"https://one.example/articles/4711?page=2"
VARIANT = Variants().of(b"text/html", b"gzip", b"de, en;q=0.5")
KEY = key_digest(URL, VARIANT)
NAMES = (
    *("url", "selecting", "status", "head", "validation", "body", "parts", "length", "etag"),
    *("last_modified", "tags", "date", "born", "fresh_until", "stale_while_revalidate"),
    *("stale_if_error", "must_revalidate", "no_cache"),
)

STAMP = Stamp(5 << 20, 6 << 20)


def response(size: int) -> Entry:
    """A stored response as they are."""
    first = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
        b"Last-Modified: Sun, 22 Nov 2026 19:00:00 GMT\r\nContent-Length: %d\r\n" % size
    )
    rest = (
        b'ETag: "5f3a-61b2c3d4"\r\nDate: Thu, 26 Nov 2026 08:00:00 GMT\r\n'
        b"Cache-Control: public, max-age=600\r\nVary: Accept-Encoding\r\nVia: 1.1 caching-proxy\r\n"
        b"X-Cache: HIT\r\nX-Cache-Key: " + KEY + b"\r\nAge: "
    )
    storable = Storable(600, LifetimeSource.MAX_AGE, 0, 1, False, False, 0, -1, frozenset())
    return Entry(
        *(URL, VARIANT, None, 200, first + rest, len(first), b"x" * size, None, size),
        *(b'"5f3a-61b2c3d4"', b"Sun, 22 Nov 2026 19:00:00 GMT", storable, 1, None),
    )


def nanoseconds(work: Callable[[], object]) -> float:
    """The least of several repeats, a call."""
    return min(timeit.repeat(work, number=NUMBER, repeat=REPEATS)) / NUMBER * 1e9


def measure(size: int) -> dict[str, float]:
    """Nanoseconds of each, by name, for a body of this size."""
    entry = response(size)
    octets = encode(entry, STAMP)
    assert octets is not None and decode(octets, URL, VARIANT, KEY) is not None
    values = (VARIANT.text, *(getattr(entry, name) for name in NAMES))
    pickled = pickle.dumps(values, 5)
    return {
        "encode": nanoseconds(lambda: encode(entry, STAMP)),
        "pickle": nanoseconds(lambda: pickle.dumps(values, 5)),
        "decode": nanoseconds(lambda: decode(octets, URL, VARIANT, KEY)),
        "unpickle": nanoseconds(lambda: pickle.loads(pickled)),
        "octets": len(octets),
        "octets of the pickle": len(pickled),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(REPEATS, 0)
    found = {size: measure(size) for size in SIZES}
    for size, costs in found.items():
        told = ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items())
        print(f"body of {size}: {told}")
    if options.record:
        name = record.Record(facts, []).name
        path = ROOT / "bench" / "results" / f"codec-{name}.json"
        content = {**facts, "nanoseconds": {str(size): costs for size, costs in found.items()}}
        path.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
