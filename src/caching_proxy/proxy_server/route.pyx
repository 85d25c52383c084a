"""What becomes of the requests that a route takes: where they go, how they are keyed, what is stored."""

import re
from hashlib import sha256

from caching_proxy.http.fields cimport FieldId, F_COOKIE, F_OTHER, F_UNKEYED, Fields, bit, field_id
from caching_proxy.load_balancer.load_balancer cimport SESSION

from caching_proxy.cache_manager.key_rules import KeyRules, cookies, has_parameter
from caching_proxy.cache_manager.rfc9111.freshness import TimeToLive
from caching_proxy.cache_manager.rfc9111.rules import Lifetimes, ResponseRule, Rules
from caching_proxy.http.changes import FieldChanges
from caching_proxy.http.forwarding import TrustedNetworks
from caching_proxy.http.target import normalise_target

cdef tuple SCHEMES = (b"http", b"https")


cdef class Route:
    """What is set for the requests that a route takes; it never changes."""

    def __init__(self, settings, origin, LoadBalancer balancer not None, CacheManager cache not None):
        """`settings` are those of settings.Route; `origin` is a proxy_server.origin.Origin."""
        self.name = settings.route
        self.cache = cache
        self.set_conditions(settings)
        self.set_storing(settings)
        self.set_upstream(settings, origin, balancer)
        self.set_key(settings)
        self.set_lane(settings)

    def set_conditions(self, settings):
        self.hosts = [name.removeprefix("*").encode() for name in settings.host] or None
        self.paths = [path.rstrip("/").encode() for path in settings.path if path != "/"]
        if not self.paths or "/" in settings.path:
            self.paths = None
        self.pattern = compiled(settings.pattern)
        self.methods = frozenset([method.encode() for method in settings.method]) or None
        self.fields = [(name.lower().encode(), value if isinstance(value, bool) else compiled(value))
                       for name, value in settings.header.items()]
        self.plain = self.pattern is None and self.methods is None and not self.fields

    def set_storing(self, settings):
        self.stores = settings.cache
        self.coalesces = settings.coalesce != "off"
        self.leases = settings.coalesce == "cluster"
        self.obeys_clients = settings.client_cache_control == "honour"
        rules = rules_of(settings)
        self.policy = StoringPolicy(rules)
        self.cached_methods = rules.methods
        self.targeted = rules.targets
        self.max_ranges = settings.max_ranges
        self.max_object = settings.max_object
        self.slice_size = settings.slice
        self.stale_if_error = int(settings.stale_if_error)
        self.max_keyed_body = settings.max_keyed_body
        self.tag_fields = tuple(name.lower().encode() for name in settings.tag_field)
        self.stripped = frozenset(self.tag_fields) if settings.strip_tags else frozenset()
        self.purgers = TrustedNetworks(settings.purge_from)
        self.bypasses = [condition(bypass) for bypass in settings.bypass]

    def set_upstream(self, settings, origin, LoadBalancer balancer):
        self.balancer = balancer
        self.origin_url = origin.url
        self.host_of_server = settings.host_header == "server"
        self.origin_host = origin.authority if settings.host_header == "origin" else None
        self.forwarded_host = settings.forwarded_host
        self.host_keyed = settings.forwarded_host or settings.host_header == "client"
        self.normalize = settings.normalize_path
        self.strip_prefix = (settings.strip_prefix or "").rstrip("/").encode()
        self.base_path = origin.base_path + (settings.add_prefix or "").rstrip("/").encode()
        self.rewrite = compiled(settings.rewrite)
        self.rewrite_to = (settings.rewrite_to or "").encode()
        self.request_changes = FieldChanges.of(settings.request_headers)
        self.response_changes = FieldChanges.of(settings.response_headers)

    def set_key(self, settings):
        rules = KeyRules(settings.query_drop, settings.query_sort, settings.query_keep, settings.key_header,
                         settings.key_cookie, settings.key_device)
        self.key_rules = rules if rules.enabled else None
        self.keyed_names = frozenset(
            [name.lower().encode() for name in settings.key_header] + [b"cookie"] * bool(settings.key_cookie)
            + [b"user-agent", b"sec-ch-ua-mobile"] * settings.key_device + [b"host"] * self.host_keyed)
        self.sent_names = frozenset(
            [name.lower().encode() for name in settings.key_header + settings.forward_header])
        # What is sent upstream in place of the client's fields can change the answer.
        told = b"" if self.request_changes is None else sha256(repr(self.request_changes).encode()).digest()
        self.variants = self.cache.variants_for(told)

    def set_lane(self, settings):
        self.has_lane = self.stores and self.rewrite is None and not (
            self.host_keyed or self.normalize or self.key_rules is not None)
        self.lane_queries = True
        if self.balancer.keyed_by == SESSION:
            self.lane_without |= bit(F_COOKIE)          # it is taken out first
        self.prefix = self.origin_url + self.base_path
        for bypass in settings.bypass:
            if bypass.header is not None:
                self.shut_lane(bypass.header.encode())
            elif bypass.cookie is not None:
                self.lane_without |= bit(F_COOKIE)
            elif bypass.query is not None:
                self.lane_queries = False
            else:
                self.has_lane = False

    def shut_lane(self, bytes name):
        """Leave requests with a field of this name to the other lane, or all where it is not known there."""
        cdef FieldId field = field_id(name, len(name))
        if field == F_OTHER or field == F_UNKEYED:
            self.has_lane = False
        else:
            self.lane_without |= bit(field)

    # -- which requests

    cdef bint takes_host(self, bytes host) except -1:
        """Whether it is for this authority (None: an unknown one, so perhaps)."""
        cdef bytes name
        if self.hosts is None or host is None:
            return True
        host = host_name(host)
        for name in self.hosts:
            if host == name or (name.startswith(b".") and host.endswith(name)):
                return True
        return False

    cdef bint takes_path(self, bytes path) except -1:
        """Whether it is for this path, in the form that `comparable_path` gives."""
        cdef bytes beginning
        if self.pattern is not None and self.pattern.fullmatch(path) is None:
            return False
        if self.paths is None:
            return True
        for beginning in self.paths:
            if path.startswith(beginning) and path[len(beginning):len(beginning) + 1] in (b"", b"/"):
                return True
        return False

    cdef bint takes(self, bytes method, bytes host, bytes path, Fields fields) except -1:
        if not self.takes_host(host) or not self.takes_path(path):
            return False
        if self.methods is not None and method not in self.methods and not (
                method == b"HEAD" and b"GET" in self.methods):
            return False
        for name, wanted in self.fields:
            value = fields.combined(name)
            if isinstance(wanted, bool):
                if (value is not None) != wanted:
                    return False
            elif value is None or wanted.fullmatch(value) is None:
                return False
        return True

    cdef bint bypassed(self, bytes target, Fields fields) except -1:
        """Whether the request goes past the cache."""
        for bypass in self.bypasses:
            if bypass(target, fields):
                return True
        return False

    # -- where it goes

    cdef bytes upstream_target(self, bytes target):
        """A target of a client in the form in which it is keyed and goes upstream."""
        if self.normalize:
            target = normalise_target(target)
        if self.key_rules is not None:
            target = self.key_rules.target(target)
        if self.strip_prefix and target.startswith(self.strip_prefix):
            rest = target[len(self.strip_prefix):]
            if rest[:1] in (b"", b"/", b"?"):
                target = rest if rest.startswith(b"/") else b"/" + rest
        if self.rewrite is not None:
            target = self.rewritten(target)
        return self.base_path + target if self.base_path else target

    cdef bytes rewritten(self, bytes target):
        """With another path, which may bring a query of its own."""
        path, mark, query = target.partition(b"?")
        path = self.rewrite.sub(self.rewrite_to, path, 1)
        if not path.startswith(b"/"):
            path = b"/" + path
        if mark and b"?" in path:
            mark = b"&"
        return path + mark + query

    cdef bytes upstream_prefix(self, bytes prefix):
        """What the paths that begin so begin with upstream, or more; None where it takes none of them."""
        cdef bytes beginning
        if self.paths is not None and not any([beginning.startswith(prefix) or prefix.startswith(beginning)
                                               for beginning in self.paths]):
            return None
        if self.rewrite is not None or self.strip_prefix.startswith(prefix.rstrip(b"/")):
            return self.base_path + b"/"
        return self.upstream_target(prefix)

    # -- the URL in the key

    cdef bytes url(self, bytes target, bytes host, bytes scheme):
        """What the key says of the URL.

        The target as it goes upstream (base path included) at the origin; the client's authority where that goes
        upstream; and its scheme, which X-Forwarded-Proto tells, where it is not http. A query is in the form that the
        path's No-Vary-Search gives it.
        """
        if self.cache.searches and b"?" in target:
            path, _, query = target.partition(b"?")
            query = self.cache.same_for(self.located_url(path, host, scheme), query)
            target = b"%b?%b" % (path, query) if query else path
        return self.located_url(target, host, scheme)

    cdef set urls(self, bytes target, bytes host, bytes scheme):
        """Every form in which the URL may stand in keys: what came before its path had a No-Vary-Search too."""
        return {self.url(target, host, scheme), self.located_url(target, host, scheme)}

    cdef bytes located_url(self, bytes target, bytes host, bytes scheme):
        if self.host_keyed:
            return b"%b%b\n%b\n%b" % (self.origin_url, target, (host or b"").lower(), scheme)
        if scheme != b"http":
            return b"%b%b\n%b" % (self.origin_url, target, scheme)
        return self.origin_url + target

    cdef bytes site(self, bytes host, bytes scheme):
        """The origin that a URL is of, as its key says it."""
        return self.located_url(b"", host, scheme)

    cdef bytes learn_search(self, bytes target, bytes host, bytes scheme, bytes value):
        """Remember the No-Vary-Search (or None) of a response to `target`; what its URL is in keys now."""
        self.cache.learn_search(self.located_url(target.partition(b"?")[0], host, scheme), value)
        return self.url(target, host, scheme)

    # -- what clients get

    cdef tuple shown(self, Entry entry):
        """A stored head as this route's clients get it, and where what a 304 has begins."""
        if self.response_changes is None:
            return entry.head, entry.validation
        return self.response_changes.stored_head(entry.head, entry.validation)


cdef object rules_of(settings):
    """What the policy of storing asks for."""
    return Rules(
        TimeToLive(int(settings.cache_ttl), int(settings.negative_ttl)),
        tuple(name.lower().encode() for name in settings.targeted_field),
        frozenset([b"GET", b"QUERY", *(method.encode() for method in settings.cache_method)]),
        obeys_requests=settings.client_cache_control == "honour",
        obeys_origin=settings.origin_cache_control == "honour",
        lifetimes=Lifetimes(seconds(settings.override_ttl), None, int(settings.stale_while_revalidate), None),
        by_response=tuple([rule_of(rule, settings) for rule in settings.ttl]))


cdef object rule_of(rule, settings):
    override = settings.override_ttl if rule.override_ttl is None and rule.ttl is None else rule.override_ttl
    revalidating = rule.stale_while_revalidate
    if revalidating is None:
        revalidating = settings.stale_while_revalidate
    statuses = {number for text in rule.status for number in statuses_of(text)}
    return ResponseRule(
        frozenset(statuses) or None,
        tuple([name.removesuffix("*").encode() for name in rule.type]) or None,
        Lifetimes(seconds(override), seconds(rule.ttl), seconds(revalidating), seconds(rule.stale_if_error)))


cdef object statuses_of(str text):
    """The numbers that `404` or `4xx` stands for."""
    if text.endswith("xx"):
        return range(int(text[0]) * 100, int(text[0]) * 100 + 100)
    return (int(text),)


cdef object seconds(value):
    return None if value is None else int(value)


cdef object compiled(pattern):
    return None if pattern is None else re.compile(pattern.encode())


def condition(bypass):
    """Whether a request, given as target and fields, fulfils all that a settings.Bypass names."""
    pattern = compiled(bypass.path)
    header = None if bypass.header is None else bypass.header.lower().encode()
    cookie = None if bypass.cookie is None else bypass.cookie.encode()
    query = None if bypass.query is None else bypass.query

    def holds(target, fields):
        path, _, search = target.partition(b"?")
        if pattern is not None and pattern.search(path) is None:
            return False
        if header is not None and fields.combined(header) is None:
            return False
        if cookie is not None and not has_cookie(cookies(fields), cookie):
            return False
        return query is None or has_parameter(search, query)

    return holds


cdef bint has_cookie(dict sent, bytes name) except -1:
    """Whether a cookie of this name is there, or with `*` one that begins so."""
    if not name.endswith(b"*"):
        return name in sent
    for cookie in sent:
        if cookie.startswith(name[:len(name) - 1]):
            return True
    return False


cpdef bytes host_name(bytes authority):
    """The host of an authority, in lower case and without its port."""
    host, colon, port = authority.rpartition(b":")
    return (host if colon and not port.endswith(b"]") else authority).lower()
