"""A fetch's turn among all processes that share a Redis (cache_manager/redis_lease.pyx).

One of them asks the origin; the others wait and answer with what that one has brought, or fetch for themselves where it
is not for them.
"""

from libc.time cimport time

from caching_proxy.cache_manager.redis_lease cimport Lease
from caching_proxy.cache_manager.redis_search cimport Lookup
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.lookup cimport judged

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES
from caching_proxy.cache_manager.rfc9111.reuse import UNASKED


async def comes_from_elsewhere(Fetch fetch):
    """Wait for the turn to fetch; whether another process has made that needless (`found`)."""
    cdef Lease lease = fetch.service.cache.lease(fetch, fetch.url, fetch.variant, fetch.sharing)
    fetch.lease = lease
    if lease is None:
        return False
    while not lease.over:
        await fetch.changed()
        if fetch.error is not None:
            raise fetch.error
    if lease.unshared:
        let_go(fetch)
    elif lease.is_to_look_again():
        await look_again(fetch)
    if not lease.held:
        fetch.lease = None
    if fetch.found is None:
        fetch.date()
        fetch.void = False                              # what the origin is asked for now is after all purges so far
        return False
    fetch.service.spared += 1
    fetch.opened = fetch.ended = fetch.shareable = True
    fetch.selecting = fetch.found.selecting
    fetch.fill.wake()
    return True


async def look_again(Fetch fetch):
    """Look for what another process has brought, to be used at once."""
    cdef Lookup lookup = fetch.service.cache.look_up(fetch, fetch.url, fetch.variant, fetch.request.fields, False)
    while lookup is not None and not lookup.over:
        await fetch.changed()
        if fetch.error is not None:
            raise fetch.error
    if lookup is not None and lookup.entry is not None and judged(lookup.entry, NO_DIRECTIVES) in UNASKED:
        fetch.found = lookup.entry


cdef let_go(Fetch fetch):
    """What comes is for one alone: nobody is to wait for it."""
    fetch.unshared = True
    fetch.service.cache.coalescing.close(fetch)
    fetch.service.cache.coalescing.remember_pass(fetch.sharing, b"for one alone", time(NULL))
    fetch.fill.wake()


cdef give_turn_back(Fetch fetch, bint unshared):
    """Let others have their turn, where this one has it; each its own, where what came is not for them."""
    if fetch.lease is not None:
        fetch.lease.give_back(unshared)
        fetch.lease = None
