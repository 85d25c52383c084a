"""One request of a client, on its way to its answer."""

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill, Source
from caching_proxy.http.head cimport RequestHead


cdef class Client(Source):
    """The client's connection, as its exchanges see it; proxy_server.http1 has the real one."""

    cdef send(self, bytes head, list chunks):
        """Write a head and what follows it, copying nothing large."""
        raise NotImplementedError

    cdef pin(self, Entry entry):
        """What was just written is of a stored response: it stays there until it has left."""

    cdef done(self, Exchange exchange):
        """The exchange has ended, one way or another."""
        raise NotImplementedError


cdef class Exchange(Reader):
    """A fiber whose coroutine is request_path.answer."""

    def __cinit__(self, Client client, RequestHead request, Fill body=None):
        self.service = client.service
        self.client = client
        self.request = request
        self.body = body
        self.host = request.host
        self.keep_alive = request.keep_alive

    def take_receipt(self, receipt):
        """A purge is done everywhere; `receipt` (None: it is not) is a dictionary for JSON."""
        self.receipt = receipt
        self.answered = True
        self.wake()

    cdef finish(self):
        """Let go of the fetch, and let the client's connection go on."""
        if self.body is not None:
            self.body.leave(self)
            self.body.let_go_unread()
        if self.fetch is not None:
            self.fetch.reader_left(self)
            self.fetch = None
        self.client.done(self)
