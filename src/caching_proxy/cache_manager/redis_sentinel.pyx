"""The primary of a service that sentinels watch, wherever it is by now.

A sentinel is asked for it from time to time, and all the while when there is none to use; the next one is asked where
that does not help. What is named is used once it has said itself that it is a primary.
"""

import functools

import hiredis

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_link import RedisDown

cdef double LOOK = 1.0        # seconds between two questions to a sentinel ...
cdef double LOOK_SOON = 0.1   # ... and while there is no primary to use
cdef double PATIENCE = 1.0    # seconds that a sentinel gets at least: no request waits for it
cdef bytes SET = b"SET"


cdef class RedisSentinel(Redis):
    """The primary of `address.service`."""

    def __init__(self, *args, **more):
        Redis.__init__(self, *args, **more)
        self.useless = {}
        self.replicas = Replicas(self, self.greeting)
        self.sentinels = [RedisLink(where, max(self.timeout, PATIENCE), None, self.sentinel_changed)
                          for where in self.address.sentinels]

    def open(self):
        """Connect, and stay connected until `close`."""
        cdef RedisLink sentinel
        for sentinel in self.sentinels:
            sentinel.open()
            self.loop = sentinel.loop
        self.set_state("connecting", "no sentinel has named its primary yet")
        self.look_later()

    def close(self):
        """Close it for good."""
        self.state = "closed"
        if self.due is not None:
            self.due.cancel()
        for link in (*self.sentinels, self.primary):
            if link is not None:
                link.close()
        self.replicas.close()
        self.set_state("closed", "it is closed")

    def nodes_now(self):
        """The primary, where it is known."""
        return [] if self.primary is None else [self.primary]

    # -- calls

    cdef put(self, Call call, tuple words, double seconds):
        if self.state != "ready":
            call.end(None, RedisDown(f"{self.address}: {self.why}"))
            return
        self.calls += 1
        call.redirect = self.heed_error
        if words[0] == SET:
            self.replicas.forget(words[1])
        self.primary.put(call, words, seconds)

    cdef Call read_for(self, Fiber asker, tuple words, double seconds):
        cdef Replica replica = self.replicas.next()
        if replica is None:
            return self.call_for(asker, words, seconds)
        return replica.read(self, asker, words, seconds)

    cdef int64_t backlog(self) except -1:
        return 0 if self.primary is None else self.primary.backlog()

    def heed_error(self, Call call, error):
        """Whether the call goes elsewhere: no. But what was a primary may be none any more."""
        if self.state == "ready" and isinstance(error, hiredis.ReplyError) and str(error).startswith("READONLY"):
            self.proven = 0
            self.set_state("waiting", f"{self.primary.address} is no primary any more")
            self.look_later()
        return False

    # -- the sentinels

    cdef look_later(self):
        """Ask a sentinel after a while."""
        if self.due is not None:
            self.due.cancel()
        self.due = self.loop.call_later(LOOK if self.state == "ready" else LOOK_SOON, self.look)

    def look(self):
        """Ask the first sentinel that answers where the primary is."""
        cdef RedisLink sentinel
        for sentinel in self.sentinels:
            if sentinel.state == "ready":
                self.due = None
                sentinel.call((b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.address.service),
                              functools.partial(self.take_place, sentinel))
                if self.replica_reads:
                    sentinel.call((b"SENTINEL", b"REPLICAS", self.address.service), self.take_replicas)
                return
        self.look_later()

    def take_place(self, RedisLink sentinel, Call call):
        """Go by what a sentinel says of the primary."""
        if self.state == "closed":
            return
        self.look_later()
        if call.error is not None:
            self.give_up(sentinel, sentinel.address.without_secrets(str(call.error)))
        elif call.reply is None:
            self.give_up(sentinel, f"{sentinel.address}: it knows no service {self.address.service!r}")
        else:
            try:
                host, port = call.reply
                self.follow(host.decode(), int(port))
            except (TypeError, ValueError, AttributeError, OverflowError):
                self.give_up(sentinel, f"{sentinel.address}: it does not answer like a sentinel")
            else:
                self.useless.pop(sentinel, None)

    def take_replicas(self, Call call):
        """Read at the replicas that a sentinel finds in order."""
        cdef list places = []
        if self.state == "closed" or not isinstance(call.reply, list):
            return
        try:
            for told in call.reply:
                port = int(told[b"port"])
                if told[b"flags"] == b"slave" and told[b"master-link-status"] == b"ok" and 0 < port < 65536:
                    places.append((told[b"ip"].decode(), port))
        except (TypeError, ValueError, LookupError, AttributeError):
            return
        self.replicas.keep(places)

    def sentinel_changed(self, RedisLink sentinel):
        """The connection to a sentinel is another."""
        if self.state == "closed" or sentinel.state == "closed":
            return
        if sentinel.state == "waiting":
            self.give_up(sentinel, f"{sentinel.address}: {sentinel.why}")
        elif sentinel.state == "ready":
            self.useless.pop(sentinel, None)

    cdef give_up(self, RedisLink sentinel, str why):
        """Ask another one next; where none is of use and there is no primary, say so."""
        self.sentinels.remove(sentinel)
        self.sentinels.append(sentinel)
        self.useless[sentinel] = why
        if self.state not in ("ready", "suspended") and len(self.useless) == len(self.sentinels):
            self.set_state("waiting", f"no sentinel helps ({why})")

    # -- the primary

    cdef follow(self, str host, int port):
        """Have the link be one to this primary. ValueError where it can be none."""
        cdef RedisLink former = self.primary
        if not host or not 0 < port < 65536:
            raise ValueError
        where = self.address.node_at(host, port)
        if former is None or former.address != where:
            self.primary = RedisLink(where, self.timeout, self.pushed, self.primary_changed, self.greeting)
            self.proven = 0
            if former is not None:
                self.past_timeouts += former.timeouts
                former.close()
            self.primary.open()
        elif self.state != "ready" and self.primary.state == "ready":
            self.ask_role()
        self.timeouts = self.past_timeouts + self.primary.timeouts + self.replicas.timeouts()

    def primary_changed(self, RedisLink link):
        """The connection to the primary is another."""
        if self.state == "closed" or link is not self.primary:
            return
        if link.state != "ready":
            self.set_state(link.state, f"{link.address}: {link.why}")
        elif link.connections == self.proven:
            self.set_state("ready", "")
        else:
            self.ask_role()
        if link.state == "waiting":
            self.look_later()

    cdef ask_role(self):
        self.primary.call((b"ROLE",), functools.partial(self.take_role, self.primary, self.primary.connections))

    def take_role(self, RedisLink link, connection, Call call):
        """Use what is a primary; ask on for it where this is none."""
        if self.state == "closed" or link is not self.primary or link.connections != connection:
            return
        if call.error is not None:
            self.set_state("waiting", str(call.error))
        elif not isinstance(call.reply, list) or not call.reply or call.reply[0] != b"master":
            self.sentinels.append(self.sentinels.pop(0))    # another one may know better
            self.set_state("waiting", f"{link.address} is no primary")
        else:
            if self.proven != connection:
                self.proven = connection
                self.connections += 1
            self.set_state("ready", "")
