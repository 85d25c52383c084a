"""Which server a request belongs to, where that depends on the request: consistent hashing, and sticky sessions.

The cookie of a session is between client and proxy: the origin does not get it, and it changes nothing of the cache.
"""

from libc.stdint cimport uint64_t

from caching_proxy.http.fields cimport F_COOKIE, Fields
from caching_proxy.load_balancer.hashing cimport hash_key
from caching_proxy.load_balancer.load_balancer cimport ADDRESS, COOKIE, HEADER, NOTHING, SESSION, LoadBalancer
from caching_proxy.proxy_server.exchange cimport Exchange

from caching_proxy.cache_manager.key_rules import cookies
from caching_proxy.cache_manager.rfc9111.storable import Storable

cdef enum:
    ID_SIZE = 16              # hexadecimal digits


cdef uint64_t balance_key(Exchange x) except? 0:
    """What the strategy goes by; 0 where it looks at no request."""
    cdef LoadBalancer balancer = x.route.balancer
    cdef bytes text = None
    if balancer.keyed_by == NOTHING:
        return 0
    if balancer.keyed_by == SESSION:
        return x.session
    if balancer.keyed_by == ADDRESS:
        text = x.client.peer.encode()
    elif balancer.keyed_by == HEADER:
        text = x.request.fields.combined(balancer.key_name)
    elif balancer.keyed_by == COOKIE and x.request.fields.has(F_COOKIE):
        text = cookies(x.request.fields).get(balancer.key_name, [None])[0]
    return hash_key(x.target if text is None else text)         # without the field: by URL, not all at one server


cdef take_session(Exchange x):
    """Take the cookie that names a server out of the request."""
    cdef Fields fields = x.request.fields
    cdef bytes name = x.route.balancer.key_name
    cdef bytes told
    if x.route.balancer.keyed_by != SESSION or not fields.has(F_COOKIE):
        return
    told = cookies(fields).get(name, [None])[0]
    if told is None:
        return
    x.session = server_id(told)
    lines = [(field, without_cookie(value, name) if field.lower() == b"cookie" else value)
             for field, value in fields.items()]
    x.request.fields = Fields.of([line for line in lines if line[1] or line[0].lower() != b"cookie"])


cdef uint64_t server_id(bytes text) except? 0:
    """The id that a cookie tells; 0: none."""
    if len(text) != ID_SIZE or not text.isalnum():
        return 0
    try:
        return int(text, 16)
    except ValueError:
        return 0


cdef bytes without_cookie(bytes value, bytes name):
    kept = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip(b" \t") != name]
    return b";".join(kept).strip(b" \t")


cdef bytes session_line(Exchange x):
    """The line that binds the client to the server that has answered; empty where it is, or nobody else may see it."""
    if x.route.balancer.keyed_by != SESSION or x.follows or x.fetch.served_by is None:
        return b""
    if x.fetch.fill.keep or isinstance(x.fetch.storable, Storable):
        return b""
    if x.route.balancer.session_server(x.session) is not None:
        return b""
    secure = b"; Secure" if x.client.secure else b""
    return b"Set-Cookie: %b=%016x; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (
        x.route.balancer.key_name, x.fetch.served_by.session_id, secure)
