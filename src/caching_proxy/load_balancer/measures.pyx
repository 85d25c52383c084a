"""What is counted of a server: outcomes over the last seconds, and how long responses took.

All times are monotonic seconds that the caller brings.
"""

from libc.math cimport exp, ldexp, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    STEPS = 8                 # buckets an octave
    MANTISSA = 52             # bits behind the point of a double ...
    EXPONENT = 1023           # ... and what its exponent is stored with

cdef double SHORTEST = 1e-6   # seconds; what took less is taken for it
cdef double TURN = 60         # seconds that each half of the latencies covers
cdef double PENALTY = 1       # seconds that a failure is taken for
cdef double DECAY = 10        # seconds after which a peak counts for 1/e


cdef class Window:
    """Outcomes of the last SPAN seconds, the present one among them."""

    cdef Outcomes* at(self, double now) noexcept:
        """The sums as of `now`: what is too old is dropped first."""
        cdef int64_t second = <int64_t>now
        cdef Outcomes* oldest
        if second - self.newest >= SPAN:
            memset(self.seconds, 0, sizeof(self.seconds))
            memset(&self.sums, 0, sizeof(Outcomes))
            self.newest = second
        while self.newest < second:
            self.newest += 1
            oldest = &self.seconds[self.newest % SPAN]
            self.sums.requests -= oldest.requests
            self.sums.errors -= oldest.errors
            self.sums.failures -= oldest.failures
            self.sums.slow -= oldest.slow
            memset(oldest, 0, sizeof(Outcomes))
        return &self.sums

    cpdef count(self, double now, bint error, bint failure, bint slow):
        """A request is over."""
        cdef Outcomes* sums = self.at(now)
        tally(sums, error, failure, slow)
        tally(&self.seconds[self.newest % SPAN], error, failure, slow)

    cdef spoil(self, double now, bint error):
        """A request that was counted as no failure was one after all; `error`: nor was it counted as an error."""
        cdef Outcomes* sums = self.at(now)
        cdef Outcomes* newest = &self.seconds[self.newest % SPAN]
        sums.errors += error
        sums.failures += 1
        newest.errors += error
        newest.failures += 1

    cpdef tuple totals(self, double now):
        """Requests, errors, failures and slow ones as of `now`."""
        cdef Outcomes* sums = self.at(now)
        return sums.requests, sums.errors, sums.failures, sums.slow

    cpdef clear(self):
        """Forget all."""
        memset(self.seconds, 0, sizeof(self.seconds))
        memset(&self.sums, 0, sizeof(Outcomes))


cdef class Latency:
    """How long responses took: a histogram of the last one to two minutes, and an average that peaks move at once."""

    cdef void turn(self, double now) noexcept:
        """Drop what is more than two minutes old."""
        cdef double age = now - self.turned_at
        if age < TURN:
            return
        if age < 2 * TURN:
            memcpy(self.before, self.recent, sizeof(self.recent))
            self.turned_at += TURN
        else:
            memset(self.before, 0, sizeof(self.before))
            self.turned_at = now
        memset(self.recent, 0, sizeof(self.recent))

    cpdef add(self, double seconds, double now):
        """One more response."""
        cdef double weight = faded(now - self.peak_at)
        seconds = max(seconds, SHORTEST)
        self.turn(now)
        self.recent[bucket_of(seconds)] += 1
        self.peak = max(seconds, self.peak * weight + seconds * (1 - weight))
        self.peak_at = now

    cdef punish(self, double now):
        """A failure: whoever goes by latency had better look elsewhere for a while."""
        self.peak = max(self.average(now), PENALTY)
        self.peak_at = now

    cpdef double average(self, double now) noexcept:
        """The peak-sensitive average (as in Finagle), which fades while nothing is added; 0 before anything was."""
        return self.peak * faded(now - self.peak_at)

    cpdef list buckets(self, double now):
        """How many responses fell into each bucket; those of several processes can be added."""
        cdef int bucket
        self.turn(now)
        return [self.recent[bucket] + self.before[bucket] for bucket in range(BUCKETS)]


def quantiles(list buckets, fractions):
    """The seconds within which each of these fractions of the responses came, to 7%; None where there are none."""
    cdef int64_t total = sum(buckets)
    return [quantile(buckets, fraction * total) for fraction in fractions] if total else None


cdef double quantile(list buckets, double wanted) except -1:
    """The middle of the bucket in which that many responses are reached."""
    cdef int64_t reached = 0
    cdef int bucket = 0
    for bucket in range(len(buckets)):
        reached += <int64_t>buckets[bucket]
        if reached and reached >= wanted:
            break
    return sqrt(beginning(bucket) * beginning(bucket + 1))


cdef double beginning(int bucket) noexcept:
    """The seconds from which on a bucket counts: an octave has equal steps."""
    return ldexp(STEPS + bucket % STEPS, bucket // STEPS) / STEPS * SHORTEST


cdef int bucket_of(double seconds) noexcept:
    """The exponent and the first bits of the mantissa of a double count the buckets as they are."""
    cdef double microseconds = max(seconds / SHORTEST, 1.0)
    cdef uint64_t bits
    memcpy(&bits, &microseconds, sizeof(bits))
    return min(<int>(bits >> (MANTISSA - 3)) - EXPONENT * STEPS, BUCKETS - 1)


cdef double faded(double seconds) noexcept:
    """What is left of a weight of 1 after that time."""
    return exp(-max(seconds, 0.0) / DECAY)


cdef void tally(Outcomes* outcomes, bint error, bint failure, bint slow) noexcept:
    outcomes.requests += 1
    outcomes.errors += error
    outcomes.failures += failure
    outcomes.slow += slow
