"""Which requests are sent again, and how many: so few that retries cannot bring down servers that struggle."""

from libc.math cimport floor as whole


cdef class RetryBudget:
    """Of the last seconds' requests a share may be retried, and so many a second in any case."""

    def __init__(self, double share, double floor):
        """`share` of the requests (0.2: a fifth), at least `floor` a second."""
        self.share = share
        self.floor = floor

    cdef int move(self, double now) noexcept:
        """Forget what is too old; the bucket of now."""
        cdef int64_t second = <int64_t>whole(now)
        cdef int64_t passed = second - self.newest
        cdef int at
        if passed > MEMORY:
            self.newest = second - MEMORY
        while self.newest < second:
            self.newest += 1
            at = self.newest % MEMORY
            self.asked -= self.requests[at]
            self.granted -= self.retries[at]
            self.requests[at] = self.retries[at] = 0
        return self.newest % MEMORY

    cdef request(self, double now):
        """A request is sent for the first time."""
        self.requests[self.move(now)] += 1
        self.asked += 1

    cdef bint retry(self, double now) except -1:
        """Whether one may be sent again; it is counted."""
        cdef int at = self.move(now)
        if self.granted >= max(self.share * self.asked, self.floor * MEMORY):
            return False
        self.retries[at] += 1
        self.granted += 1
        return True

    def ask(self, double now):
        """A request is sent for the first time; `now` is in monotonic seconds."""
        self.request(now)

    def take(self, double now):
        """Whether one may be sent again; it is counted."""
        return self.retry(now)


cdef class RetryPolicy:
    """What is sent again, as settings.OriginSettings have it."""

    def __init__(self, settings):
        self.budget = RetryBudget(settings.retry_budget / 100, settings.retry_floor)
        self.number = settings.retries
        self.statuses = frozenset([status for text in settings.retry_status for status in numbers(text)])
        self.deadline = settings.origin_deadline
        self.hedges = settings.hedge


cdef list numbers(str text):
    """The statuses that `404` or `5xx` stands for."""
    if text.endswith("xx"):
        return list(range(int(text[0]) * 100, int(text[0]) * 100 + 100))
    return [int(text)]
