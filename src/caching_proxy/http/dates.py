"""HTTP-date (RFC 9110 5.6.7) as seconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_DAY_NAME = rb"(?:" + b"|".join(_DAYS) + rb")"
_LONG_DAY_NAME = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

# RFC 9111 4.2: a cache matches dates without regard to case, and takes no zone but GMT.
_IMF_FIXDATE = re.compile(
    _DAY_NAME + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT", re.I
)
_RFC850 = re.compile(
    _LONG_DAY_NAME + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" GMT", re.I
)
_ASCTIME = re.compile(
    _DAY_NAME + rb" " + _MONTH + rb" (?P<day>\d\d| \d) " + _TIME + rb" (?P<year>\d{4})", re.I
)
_IMF_FIXDATE_SIZE = 29
_ASCTIME_SIZE = 24
_RFC850_SIZES = range(30, 34)

_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY = 86400
_FIFTY_YEARS = 50 * 31_556_952  # of the mean Gregorian length


def parse_http_date(value: bytes, now: int) -> int | None:
    """The time that `value` names, or None when it is no HTTP-date.

    `now` settles the century of a two-digit year (RFC 850 format); the other formats ignore it.
    The name of the day is not held against the date; second 60 is taken as 59.
    """
    size = len(value)
    if size in (_IMF_FIXDATE_SIZE, _ASCTIME_SIZE):
        return _parse_full_date(value)
    return _parse_rfc850_date(value, now) if size in _RFC850_SIZES else None


@lru_cache(maxsize=1024)
def _parse_full_date(value: bytes) -> int | None:
    found = _IMF_FIXDATE.fullmatch(value) or _ASCTIME.fullmatch(value)
    return _seconds(found, int(found["year"])) if found else None


def _parse_rfc850_date(value: bytes, now: int) -> int | None:
    found = _RFC850.fullmatch(value)
    if found is None:
        return None
    century = (_EPOCH + timedelta(seconds=now)).year // 100 * 100
    seconds = _seconds(found, century + int(found["year"]))
    if seconds is None or seconds > now + _FIFTY_YEARS:
        return _seconds(found, century - 100 + int(found["year"]))
    return seconds


def _seconds(found: re.Match[bytes], year: int) -> int | None:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if second == 60 and (hour, minute) == (23, 59):
        second = 59
    if hour > 23 or minute > 59 or second > 59:
        return None
    try:
        day = date(year, _MONTH_NUMBERS[found["month"].lower()], int(found["day"]))
    except ValueError:
        return None
    return (day.toordinal() - _EPOCH_DAY) * _DAY + hour * 3600 + minute * 60 + second


@lru_cache(maxsize=64)
def format_http_date(seconds: int) -> bytes:
    """IMF-fixdate of a time; OverflowError outside the years 1 to 9999."""
    moment = _EPOCH + timedelta(seconds=seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[moment.weekday()],
        moment.day,
        _MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
