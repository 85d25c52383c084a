"""What the answer to a validation says of what is stored (RFC 9111 3.2, 4.3.4, 4.3.5).

It is the answer to one request. What of it is the asker's own goes to the asker and never into the store.
"""

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport F_COOKIE, Fields
from caching_proxy.http.head cimport ResponseHead
from caching_proxy.proxy_server.fetch cimport Fetch, selecting_of
from caching_proxy.proxy_server.heads cimport origin_lines, rebuilt_head, stored_head, without_names

from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource, initial_age, response_date
from caching_proxy.cache_manager.rfc9111.storable import OF_THE_REQUEST, Storable
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.cache_manager.rfc9111.validation import (
    caching_fields, fields_for_all, head_agrees, merged_fields, unstored_fields,
)
from caching_proxy.cache_manager.tags import TOO_MANY_TAGS

cdef tuple COOKIE = (b"cookie",)
cdef Fields NO_FIELDS = Fields.of([])
cdef object ALL_HOP_BY_HOP = unstored_fields(None)
# How a confirmed response is used for its asker alone.
cdef object USED_ONCE = Storable(0, LifetimeSource.NONE, 0, 0, True, True, 0, -1, ALL_HOP_BY_HOP)


cdef confirm(Fetch fetch):
    """Take over what a 304 says into the stored responses that it means (RFC 9111 4.3.4)."""
    cdef Entry entry = fetch.meant()
    cdef Entry other
    cdef list others = []
    cdef list lines = fetch.head.fields.items()
    cdef list fresh
    if entry.etag is not None and not entry.etag.startswith(b"W/"):
        others = [other for other in fetch.service.cache.memory.of_url(fetch.url)
                  if other.etag == entry.etag and other.variant.extra == entry.variant.extra
                  and (other is not entry or len(fetch.offered) > 1)]
    fetch.service.revalidated += 1
    for other in others:
        fresh = said_to_all(fetch, other, other.variant)
        if other.is_personal():
            fresh = caching_fields(fresh, fetch.route.targeted)
        renew(fetch, other, other.variant, other.selecting, fresh, verdict(fetch, other, other.variant, fresh))
    fresh = said_to_all(fetch, entry, fetch.variant)
    storable = verdict(fetch, entry, fetch.variant, fresh)
    fetch.renewed = fetch.confirmed = renew(fetch, entry, fetch.variant, None, fresh, storable)
    if not isinstance(storable, Storable):
        storable = used_once(fetch, entry, lines)
    if fetch.renewed is None or len(fresh) < len(lines) or storable.excluded is not ALL_HOP_BY_HOP:
        fetch.confirmed = for_asker(fetch, entry, lines, storable)


cdef renew_by_head(Fetch fetch):
    """What the answer to a HEAD says of the stored answer to GET (RFC 9111 4.3.5)."""
    cdef Entry entry = fetch.service.cache.memory.select(fetch.url, fetch.variant, fetch.request.fields)
    if entry is None or fetch.head.status != 200 or entry.status != 200 or fetch.void:
        return
    if head_agrees(stored_head(entry).fields, entry.length, fetch.head.fields):
        fresh = said_to_all(fetch, entry, entry.variant)
        renew(fetch, entry, entry.variant, entry.selecting, fresh, verdict(fetch, entry, entry.variant, fresh))
    else:
        fetch.service.cache.outdate(entry, fetch.received_at, fetch.stamp)


cdef list said_to_all(Fetch fetch, Entry entry, Variant variant):
    """The lines of the fetch's answer that may update what everybody gets of `entry`."""
    cdef list lines = fields_for_all(fetch.head.fields.items())
    if variant is not entry.variant or not fetch.request.fields.has(F_COOKIE):
        return lines
    if judge_renewed(fetch, entry, lines, fetch.request.fields) is not NotStorable.COOKIE:
        return lines
    # It is everybody's already; but what else is said to somebody with a cookie is not.
    return caching_fields(lines, fetch.route.targeted)


cdef Entry for_asker(Fetch fetch, Entry entry, list lines, object storable):
    """`entry` with all that the answer says to who asked; what it reserves is taken from the answer alone."""
    cdef list stored = [line for line in origin_lines(entry) if line[0].lower() not in storable.excluded]
    cdef ResponseHead head = rebuilt_head(entry, merged_fields(stored, lines), entry.length)
    return with_head(fetch, entry, head, fetch.variant, None, storable._replace(excluded=frozenset()))


cdef object used_once(Fetch fetch, Entry entry, list lines):
    """How the response that the fetch's answer confirms is used for its asker alone."""
    storable = judge_renewed(fetch, entry, lines, NO_FIELDS)
    if isinstance(storable, Storable):
        return storable
    date = response_date(fetch.head.fields, fetch.received_at)
    age = initial_age(fetch.head.fields, date, fetch.requested_at, fetch.received_at)
    return USED_ONCE._replace(date=entry.date, age=age)


cdef object verdict(Fetch fetch, Entry entry, Variant variant, list fresh):
    """Whether `entry` may be stored with these newer fields; what is stored for all already may be so for a cookie."""
    cdef Fields request = fetch.request.fields
    if variant is entry.variant:
        request = without_cookie(request)
    return judge_renewed(fetch, entry, fresh, request)


cdef Entry renew(Fetch fetch, Entry entry, Variant variant, tuple selecting, list fresh, object storable):
    """Store `entry` with the newer fields `fresh`, found `storable`; None where nobody but the asker may use it.

    `selecting` is what Vary adds to its key, None: by the request of the fetch.
    """
    cdef Entry renewed
    if not isinstance(storable, Storable):
        if storable not in OF_THE_REQUEST:
            fetch.service.cache.drop(entry)
        return None
    if fetch.void:
        return None
    renewed = updated(fetch, entry, variant, selecting, fresh, storable)
    fetch.service.cache.store(renewed, fetch.stamp, fetch.lease)
    return renewed


cdef Fields without_cookie(Fields request):
    return without_names(request, COOKIE) if request.has(F_COOKIE) else request


cdef object judge_renewed(Fetch fetch, Entry entry, list fresh, Fields request):
    """The verdict on `entry` with these newer fields, as an answer to `request`."""
    cdef ResponseHead head = renewed_head(entry, fresh)
    return fetch.route.policy.judge(b"GET" if fetch.is_head else fetch.request.method, request, entry.status,
                                    head.fields, fetch.requested_at, fetch.received_at)


cdef ResponseHead renewed_head(Entry entry, list fresh):
    return rebuilt_head(entry, merged_fields(origin_lines(entry), fresh), entry.length)


cdef Entry updated(Fetch fetch, Entry entry, Variant variant, tuple selecting, list fresh, object storable):
    """`entry` with newer fields."""
    return with_head(fetch, entry, renewed_head(entry, fresh), variant, selecting, storable)


cdef Entry with_head(Fetch fetch, Entry entry, ResponseHead head, Variant variant, tuple selecting, object storable):
    """`entry` with another head; `selecting` as `renew` has it."""
    tags = fetch.tags_of(head.fields)
    if selecting is None:
        selecting = selecting_of(head.fields, fetch.request.fields)
    return fetch.entry(head, variant, selecting, entry.body, entry.parts, entry.length, storable,
                       entry.tags if tags is None or tags is TOO_MANY_TAGS else tags)
