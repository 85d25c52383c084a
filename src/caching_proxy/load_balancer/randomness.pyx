"""Random numbers that can be seeded: xoshiro256** (Blackman and Vigna), a few nanoseconds each.

Good enough to spread requests, no good for secrets.
"""

import os

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from caching_proxy.load_balancer.hashing cimport scramble


@cython.final
cdef class Random:
    """A sequence of its own; the same `seed`, any whole number, gives the same one again."""

    def __init__(self, seed=None):
        cdef uint64_t number
        cdef int place
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        number = seed & 0xFFFFFFFFFFFFFFFF
        for place in range(4):
            number += <uint64_t>0x9E3779B97F4A7C15      # splitmix64, as the authors advise
            self.state[place] = scramble(number)

    cpdef uint64_t next(self) noexcept:
        """Any number of 64 bits."""
        cdef uint64_t* state = self.state
        cdef uint64_t drawn = rotated(state[1] * 5, 7) * 9
        cdef uint64_t shifted = state[1] << 17
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotated(state[3], 45)
        return drawn

    cpdef uint32_t below(self, uint32_t bound) noexcept:
        """A number from 0 up to `bound`, without it, all equally likely (Lemire 2019)."""
        cdef uint64_t product = (self.next() >> 32) * bound
        cdef uint32_t unfair
        if <uint32_t>product < bound:
            unfair = <uint32_t>(-bound) % bound
            while <uint32_t>product < unfair:
                product = (self.next() >> 32) * bound
        return <uint32_t>(product >> 32)

    cpdef double unit(self) noexcept:
        """A number from 0 up to 1, without it."""
        return <double>(self.next() >> 11) * (1.0 / 9007199254740992.0)      # 53 bits of them


cdef inline uint64_t rotated(uint64_t number, int by) noexcept:
    return (number << by) | (number >> (64 - by))
