"""What the commands do with Redis itself, be a proxy running or not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import click
import hiredis

from caching_proxy.cache_manager.purge_log import PREFIX_LOG, log_command, purge_line
from caching_proxy.cache_manager.redis_connector import connector
from caching_proxy.cache_manager.redis_link import Redis, RedisDown
from caching_proxy.cache_manager.redis_tier import COUNTERS, PROCESSES
from caching_proxy.settings import StoreSettings

TIMEOUT = 10.0  # seconds that Redis gets for an answer
PATIENCE = 3.0  # ... and for the first
BATCH = 1000  # keys that are looked at, at a time

Progress = Callable[[int, int], None]
"""Called with how many keys have been looked at, and about how many there are."""


def clear(settings: StoreSettings, progress: Progress) -> int:
    """Remove every stored response and nothing else; how many there were.

    Running proxies drop what they have in memory. ClickException where Redis does not answer.
    """
    return asyncio.run(_clear(settings, progress))


def stats(settings: StoreSettings) -> dict[str, Any]:
    """What is stored, and the counters of all proxies that share it, as far as they have told."""
    return asyncio.run(_stats(settings))


async def _clear(settings: StoreSettings, progress: Progress) -> int:
    prefix = settings.redis_prefix.encode()
    removed = 0
    async with _connected(settings) as redis:
        await redis.ask(*log_command(prefix + PREFIX_LOG, purge_line(False, None, b"", b"")))
        async for node, keys in _ours(redis, prefix, progress):
            for key, gone in zip(keys, await _all(node, b"UNLINK", keys), strict=True):
                removed += gone if is_response(key) else 0
    return removed


async def _stats(settings: StoreSettings) -> dict[str, Any]:
    prefix = settings.redis_prefix.encode()
    entries = 0
    async with _connected(settings) as redis:
        told = await redis.ask(b"HGETALL", COUNTERS + prefix)
        processes = await redis.ask(b"ZCARD", PROCESSES + prefix)
        async for _, keys in _ours(redis, prefix, lambda done, total: None):
            entries += sum(map(is_response, keys))
        memory = sum(
            [_used_memory(await node.ask(b"INFO", b"memory")) for node in redis.nodes_now()]
        )
    counters = {name.decode(): int(number) for name, number in told.items()}
    hits, misses = counters.pop("hits", 0), counters.pop("misses", 0)
    return {
        "entries": entries,
        "memory_bytes": memory,
        "hits": hits,
        "misses": misses,
        "hit_ratio": round(hits / (hits + misses), 4) if hits + misses else 0.0,
        **counters,
        "processes": processes,
    }


def is_response(key: bytes) -> bool:
    """Whether one of our keys is that of a response, not of a chunk of its body."""
    return re.search(rb"/[0-9]+$", key) is None


def _used_memory(info: Any) -> int:
    found = re.search(rb"used_memory:([0-9]+)", info if isinstance(info, bytes) else b"")
    return int(found[1]) if found else 0


async def _ours(
    redis: Redis, prefix: bytes, progress: Progress
) -> AsyncIterator[tuple[Redis, list[bytes]]]:
    """The keys of stored responses and their chunks, by node, some at a time."""
    ours = re.compile(re.escape(prefix) + rb"[0-9a-f]{64}(?:/[0-9]{1,9})?")
    nodes = redis.nodes_now()
    total = sum([await node.ask(b"DBSIZE") for node in nodes])
    done = 0
    for node in nodes:
        cursor: bytes = b"0"
        while True:
            words = (b"SCAN", cursor, b"MATCH", prefix + b"*", b"COUNT", BATCH)
            cursor, keys = await node.ask(*words)
            done += BATCH
            progress(min(done, total), total)
            found = [key for key in keys if ours.fullmatch(key)]
            if found:
                yield node, found
            if cursor == b"0":
                break
    progress(total, total)


async def _all(node: Redis, command: bytes, keys: list[bytes]) -> list[int]:
    """A command for each of some keys, all sent at once."""
    return list(await asyncio.gather(*[node.ask(command, key) for key in keys]))


@asynccontextmanager
async def _connected(settings: StoreSettings) -> AsyncIterator[Redis]:
    """Redis, once it answers. ClickException where it does not, or breaks off."""
    where = settings.redis_address()
    redis = connector(where, settings.use_cluster)(where, TIMEOUT)
    redis.open()
    try:
        for _ in range(int(PATIENCE / 0.01)):
            if redis.state == "ready" and redis.is_whole():
                break
            await asyncio.sleep(0.01)
        else:
            raise click.ClickException(
                f"Redis at {where} does not answer ({redis.why}): start it, or name its place with"
                " --redis-host and --redis-port, or a running proxy's with --admin-port"
            )
        yield redis
    except hiredis.ReplyError as error:
        hint = ": say --use-cluster" if str(error).startswith("MOVED") else ""
        raise click.ClickException(f"Redis at {where} refuses: {error}{hint}") from None
    except RedisDown as error:
        raise click.ClickException(f"Redis breaks off: {error}") from None
    finally:
        redis.close()
