"""Random numbers that can be seeded."""

from libc.stdint cimport uint32_t, uint64_t

cdef class Random:
    cdef uint64_t state[4]

    cdef uint64_t next(self) noexcept
    cdef uint32_t below(self, uint32_t bound) noexcept
    cdef double unit(self) noexcept
