"""A cluster of Redis nodes: each key's commands go to the primary that has its slot.

There is one RedisLink for each primary, and a Replica for each replica where they are read at. Where a slot is
elsewhere by now the node says so (MOVED, ASK) and the command goes there; the layout is read again then, when a node is
lost, and from time to time.
"""

import binascii
import re

import hiredis

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_link import RedisDown

cdef enum:
    SLOTS = 16384
    HOPS_MAX = 5              # redirections of one command
    NODES_MAX = 1000          # primaries

cdef double LOOK = 5.0        # seconds between two looks at the layout ...
cdef double LOOK_SOON = 0.1   # ... and after a sign that it has changed
cdef double SEED_TIMEOUT = 1.0  # seconds that the first node gets at least: no request waits for it
cdef bytes EVAL = b"EVAL"
cdef bytes SET = b"SET"
cdef tuple READONLY = ("READONLY",)   # or a replica sends its readers to the primary
cdef object REDIRECTION = re.compile(r"(MOVED|ASK) ([0-9]{1,5}) ([^ ]{0,255}):([0-9]{1,5})(?: .*)?", re.ASCII).fullmatch


cpdef int slot_of(bytes key) except -1:
    """The slot of a key: that of what stands between the first braces, where something does (Redis cluster spec)."""
    cdef Py_ssize_t start = key.find(b"{")
    cdef Py_ssize_t end
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % SLOTS


cdef class RedisCluster(Redis):
    """All primaries of a cluster, found from the node at `address`."""

    def __init__(self, *args, **more):
        Redis.__init__(self, *args, **more)
        self.nodes = {}
        self.greeted = {}
        self.slots = [None] * SLOTS
        self.replicas = {}
        self.seed = RedisLink(self.address, max(self.timeout, SEED_TIMEOUT), None, self.seed_changed)

    def open(self):
        """Connect, and stay connected until `close`."""
        self.seed.open()
        self.loop = self.seed.loop
        self.set_state("connecting", "its layout is not known yet")
        self.due = self.loop.call_later(LOOK, self.look)

    def close(self):
        """Close it for good."""
        self.due.cancel()
        self.state = "closed"
        self.seed.close()
        for link in list(self.nodes.values()):
            link.close()
        for replicas in self.replicas.values():
            (<Replicas>replicas).close()
        self.set_state("closed", "it is closed")

    def nodes_now(self):
        """Its primaries."""
        return list(self.nodes.values())

    def is_whole(self):
        """Whether all of them answer, and every slot is somebody's."""
        cdef RedisLink link
        for link in self.slots:
            if link is None or link.state != "ready":
                return False
        return True

    # -- calls

    cdef put(self, Call call, tuple words, double seconds):
        cdef RedisLink link = self.of_key(words[3] if words[0] == EVAL else words[1])
        self.calls += 1
        if link is None:
            call.end(None, RedisDown(f"{self.address}: {self.why}"))
            return
        call.redirect = self.redirect
        call.words = words
        if self.replicas and words[0] == SET:
            self.forget(link, words[1])
        link.put(call, words, seconds)

    cdef forget(self, RedisLink primary, bytes key):
        """Its replicas' news of this key is of our own write."""
        cdef Replicas replicas = self.replicas.get(primary)
        if replicas is not None:
            replicas.forget(key)

    cdef Call read_for(self, Fiber asker, tuple words, double seconds):
        cdef Replicas replicas = self.replicas.get(self.of_key(words[1]))
        cdef Replica replica = None if replicas is None else replicas.next()
        if replica is None:
            return self.call_for(asker, words, seconds)
        return replica.read(self, asker, words, seconds)

    cdef int64_t backlog(self) except -1:
        cdef RedisLink link
        cdef int64_t size = 0
        for link in self.nodes.values():
            size = max(size, link.backlog())
        return size

    cdef RedisLink of_key(self, bytes key):
        return self.slots[slot_of(key)]

    def redirect(self, Call call, error):
        """Send a call to where its slot is by now, where the error tells; whether that was done."""
        cdef RedisLink link
        if not isinstance(error, hiredis.ReplyError):
            return False
        if str(error).startswith("CLUSTERDOWN"):
            self.look_soon()
        told = REDIRECTION(str(error))
        if told is None or call.hops >= HOPS_MAX or int(told[2]) >= SLOTS or not 0 < int(told[4]) < 65536:
            return False
        kind, slot, host, port = told.groups()
        if len(self.nodes) >= NODES_MAX:
            return False
        link = self.node(host or self.address.host, int(port))
        call.hops += 1
        if kind == "MOVED":
            self.slots[int(slot)] = link
            self.look_soon()
        if link.state != "ready":
            return False
        if kind == "ASK":
            link.call((b"ASKING",))
        link.put(call, call.words, max(0.0, call.deadline - self.loop.time()))
        return True

    # -- nodes

    cdef RedisLink node(self, str host, int port):
        """The link to a primary; a new one connects from now on."""
        cdef RedisLink link = self.nodes.get((host, port))
        if link is None:
            where = self.address.node_at(host, port)
            link = RedisLink(where, self.timeout, self.pushed, self.node_changed, self.greeting)
            self.nodes[host, port] = link
            link.open()
        return link

    def node_changed(self, RedisLink link):
        """The connection to a node is another."""
        if self.state == "closed":
            return
        if link.state == "ready" and self.greeted.get(link) != link.connections:
            self.greeted[link] = link.connections
            self.connections += 1
        elif link.state == "waiting":
            self.losses += self.greeted.pop(link, None) is not None     # else it has failed to come back
            self.look_soon()
        self.judge()

    def seed_changed(self, RedisLink link):
        """The first node answers, or does not."""
        if self.state == "closed":
            return
        if link.state == "ready":
            self.look()
        elif self.state == "connecting" or not self.nodes:
            self.set_state("waiting" if link.state == "waiting" else "connecting", link.why)

    cdef judge(self):
        """It is ready while any primary is: what the others have is not found meanwhile."""
        cdef set states = {(<RedisLink>link).state for link in self.nodes.values()}
        if "ready" in states:
            self.set_state("ready", "")
        elif states == {"waiting"}:
            self.set_state("waiting", f"none of its primaries answers ({self.a_reason()})")

    cdef str a_reason(self):
        cdef RedisLink link
        for link in self.nodes.values():
            return f"{link.address}: {link.why}"

    # -- the layout

    cdef look_soon(self):
        if not self.looking:
            self.looking = True
            self.due.cancel()
            self.due = self.loop.call_later(LOOK_SOON, self.look)

    def look(self):
        """Ask any node for the layout."""
        cdef RedisLink link = self.anybody()
        self.looking = False
        self.due.cancel()
        self.due = self.loop.call_later(LOOK, self.look)
        if link is not None:
            link.call((b"CLUSTER", b"SLOTS"), self.take_layout)

    cdef RedisLink anybody(self):
        cdef RedisLink link
        for link in [*self.nodes.values(), self.seed]:
            if link.state == "ready":
                return link
        return None

    def take_layout(self, Call call):
        """Take over the layout that a node has told."""
        self.timeouts = sum([(<RedisLink>link).timeouts for link in self.nodes.values()])
        self.timeouts += sum([(<Replicas>replicas).timeouts() for replicas in self.replicas.values()])
        if self.state == "closed":
            return
        if call.error is not None:
            if not self.nodes:
                self.set_state("waiting", str(call.error))
        elif isinstance(call.reply, list) and self.lay_out(call.reply):
            self.judge()

    cdef bint lay_out(self, list ranges) except -1:
        """Whether the layout makes sense; then keys go by it, and nodes without slots are let go."""
        cdef list slots = [None] * SLOTS
        cdef list layout = []
        cdef dict replicas = {}                         # primary -> where its replicas are
        cdef RedisLink link
        try:
            for first, last, *nodes in ranges:
                places = [self.place(node) for node in nodes]
                if not 0 <= first <= last < SLOTS or not places:
                    return False
                layout.append((first, last, places))
        except (TypeError, ValueError, AttributeError):
            return False
        if not layout or len({places[0] for _, _, places in layout}) > NODES_MAX:
            return False
        for first, last, places in layout:
            host, port = places[0]
            link = self.node(host, port)
            slots[first:last + 1] = [link] * (last + 1 - first)
            replicas[link] = places[1:]
        self.slots = slots
        used = set(slots)
        for place, link in list(self.nodes.items()):
            if link not in used:
                del self.nodes[place]
                self.greeted.pop(link, None)
                link.close()
        if self.replica_reads:
            self.read_at(replicas)
        return bool(self.nodes)

    cdef tuple place(self, list node):
        """Where a node of the layout is. ValueError, TypeError or AttributeError where it makes no sense."""
        host, port, *_ = node
        if not isinstance(port, int) or not 0 < port < 65536:
            raise ValueError
        return (host or b"").decode() or self.address.host, port

    cdef read_at(self, dict places):
        """Read at the replicas that are here, by primary, and at no others."""
        cdef Replicas replicas
        cdef dict former = self.replicas
        self.replicas = {}
        for primary, theirs in places.items():
            replicas = former.pop(primary, None) or Replicas(self, (READONLY, *self.greeting))
            self.replicas[primary] = replicas
            replicas.keep(theirs)
        for replicas in former.values():
            replicas.keep([])
