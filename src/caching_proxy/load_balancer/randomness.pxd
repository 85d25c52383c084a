"""Random numbers that can be seeded."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t


@cython.final
cdef class Random:
    cdef uint64_t state[4]

    cpdef uint64_t next(self) noexcept
    cpdef uint32_t below(self, uint32_t bound) noexcept
    cpdef double unit(self) noexcept
