from caching_proxy.http.fields import Fields

INTERIMS_MAX: int

class RequestHead:
    method: bytes
    target: bytes
    host: bytes | None
    fields: Fields
    minor: int
    keep_alive: bool
    chunked: bool
    expects_continue: bool
    content_length: int
    size: int

class ResponseHead:
    status: int
    reason: bytes
    minor: int
    fields: Fields
    keep_alive: bool
    chunked: bool
    content_length: int
    size: int

def parse_request(head: bytes) -> RequestHead: ...
def parse_response(head: bytes) -> ResponseHead: ...
def first_response(data: bytes, seen: int, max_head: int) -> ResponseHead | None: ...
def scan_request(data: bytes) -> RequestHead | None: ...
def scan_response(data: bytes) -> ResponseHead | None: ...
def head_end(data: bytes, seen: int = 0) -> int: ...
