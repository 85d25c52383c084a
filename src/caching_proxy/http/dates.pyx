"""HTTP-date (RFC 9110 5.6.7) as seconds since 1970-01-01T00:00:00Z."""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from caching_proxy.http.grammar cimport equals_lower

cdef enum:
    IMF_FIXDATE_SIZE = 29
    ASCTIME_SIZE = 24
    RFC850_MIN = 30
    RFC850_MAX = 33
    DAY = 86400

cdef const char* DAYS = "montuewedthufrisatsun"
cdef const char* MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
cdef int* MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

DAY_NAMES = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
MONTH_NAMES = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTH_NAMES, 1)}

# RFC 9111 4.2: a cache matches dates without regard to case, and takes no zone but GMT.
MONTH = rb"(?P<month>" + b"|".join(MONTH_NAMES) + rb")"
CLOCK = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
RFC850 = re.compile(
    rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-" + MONTH + rb"-(?P<year>\d\d) " + CLOCK + rb" GMT",
    re.I)
ASCTIME = re.compile(
    rb"(?:" + b"|".join(DAY_NAMES) + rb") " + MONTH + rb" (?P<day>\d\d| \d) " + CLOCK + rb" (?P<year>\d{4})", re.I)

EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.toordinal()
FIFTY_YEARS = 50 * 31_556_952     # of the mean Gregorian length


cpdef object parse_http_date(bytes value, int64_t now):
    """The time that `value` names, or None when it is no HTTP-date.

    `now` settles the century of a two-digit year (RFC 850 format); the other formats ignore it. The name of the day is
    not held against the date; second 60 is taken as 59.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    if size == IMF_FIXDATE_SIZE:
        return imf_fixdate(PyBytes_AS_STRING(value))
    if size == ASCTIME_SIZE:
        found = ASCTIME.fullmatch(value)
        return None if found is None else seconds_of(found, int(found["year"]))
    return parse_rfc850(value, now) if RFC850_MIN <= size <= RFC850_MAX else None


cdef object imf_fixdate(const char* text):
    """The time that the 29 octets name, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`, or None."""
    cdef int month = position(text + 8, MONTHS, 12)
    cdef int day = number(text + 5, 2)
    cdef int year = number(text + 12, 4)
    cdef int hour = number(text + 17, 2)
    cdef int minute = number(text + 20, 2)
    cdef int second = number(text + 23, 2)
    if position(text, DAYS, 7) < 0 or text[3] != c"," or text[4] != c" " or text[7] != c" " or text[11] != c" ":
        return None
    if text[16] != c" " or text[19] != c":" or text[22] != c":" or not equals_lower(text + 25, b" gmt", 4):
        return None
    if second == 60 and hour == 23 and minute == 59:
        second = 59
    if month < 0 or year < 1 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return None
    if not 1 <= day <= MONTH_DAYS[month] + (month == 1 and is_leap(year)):
        return None
    return days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second


cdef inline int number(const char* text, int digits) noexcept nogil:
    """A number of so many digits, -1 where there is something else."""
    cdef int at, found = 0
    for at in range(digits):
        if not c"0" <= text[at] <= c"9":
            return -1
        found = 10 * found + text[at] - c"0"
    return found


cdef inline int position(const char* text, const char* names, int count) noexcept nogil:
    """Which of these names of three letters it is, in any case; -1 for none."""
    cdef int at
    for at in range(count):
        if equals_lower(text, names + 3 * at, 3):
            return at
    return -1


cdef inline bint is_leap(int year) noexcept nogil:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


cdef inline int64_t days_before(int year, int month, int day) noexcept nogil:
    """Days from 1970-01-01 to the day of this year, month (from 0) and day (from 1)."""
    cdef int64_t past = year - 1
    cdef int64_t days = 365 * past + past // 4 - past // 100 + past // 400 - 719162
    cdef int at
    for at in range(month):
        days += MONTH_DAYS[at]
    return days + (month > 1 and is_leap(year)) + day - 1


cdef object parse_rfc850(bytes value, int64_t now):
    found = RFC850.fullmatch(value)
    if found is None:
        return None
    century = (EPOCH + timedelta(seconds=now)).year // 100 * 100
    seconds = seconds_of(found, century + int(found["year"]))
    if seconds is None or seconds > now + FIFTY_YEARS:
        return seconds_of(found, century - 100 + int(found["year"]))
    return seconds


cdef object seconds_of(found, year):
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if second == 60 and (hour, minute) == (23, 59):
        second = 59
    if hour > 23 or minute > 59 or second > 59:
        return None
    try:
        day = date(year, MONTH_NUMBERS[found["month"].lower()], int(found["day"]))
    except ValueError:
        return None
    return (day.toordinal() - EPOCH_DAY) * DAY + hour * 3600 + minute * 60 + second


@lru_cache(maxsize=64)
def format_http_date(seconds):
    """IMF-fixdate of a time; OverflowError outside the years 1 to 9999."""
    moment = EPOCH + timedelta(seconds=seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        DAY_NAMES[moment.weekday()],
        moment.day,
        MONTH_NAMES[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
