from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http.dates import format_http_date, parse_http_date

NOW = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
EXAMPLE = 784_111_777  # of RFC 9110 5.6.7
YEAR_1, YEAR_9999 = -62_135_596_800, 253_402_300_799


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        (b"Sun Nov  6 08:49:37 1994", EXAMPLE),
        (b"Wed Nov 16 08:49:37 1994", EXAMPLE + 10 * 86400),
        (b"sun, 06 nOV 1994 08:49:37 gmt", EXAMPLE),
        (b"Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Wed, 31 Dec 1969 23:59:59 GMT", -1),
        (b"Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", YEAR_9999),
    ],
)
def test_every_format_is_read(text: bytes, seconds: int) -> None:
    assert parse_http_date(text, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"-1",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun,  6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun 06 Nov 1994 08:49:37 GMT",
        b"Xyz, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Xyz 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 AEST",
        b"Sun, 06 Nov 1994 08:49:37",
        b" Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b"Sun, 31 Nov 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Wed, 29 Feb 2023 00:00:00 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:00 GMT",
        b"Sun, 06 Nov 1994 08:49:60 GMT",
        b"Sun, 06 Nov 1994 23:59:61 GMT",
        b"Sun, 06-Nov-94 08:49:37 GMT",
        b"Sunday, 32-Nov-94 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 EST",
        b"Sun Nov 06 08:49:37 94",
        b"Sun Nov 6 08:49:37 1994",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_http_date_is_refused(text: bytes) -> None:
    assert parse_http_date(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "year"),
    [
        (b"Sunday, 06-Nov-23 08:49:37 GMT", 2023),
        (b"Sunday, 06-Nov-24 08:49:37 GMT", 2024),
        (b"Sunday, 06-Nov-73 08:49:37 GMT", 2073),
        (b"Sunday, 06-Dec-73 08:49:37 GMT", 1973),
        (b"Sunday, 06-Nov-99 08:49:37 GMT", 1999),
        (b"Sunday, 06-Nov-00 08:49:37 GMT", 2000),
    ],
)
def test_a_two_digit_year_is_at_most_fifty_years_ahead(text: bytes, year: int) -> None:
    seconds = parse_http_date(text, NOW)
    assert seconds is not None
    assert format_http_date(seconds)[12:16] == b"%d" % year


def test_a_two_digit_year_follows_the_clock() -> None:
    text = b"Sunday, 06-Nov-24 08:49:37 GMT"
    read = [parse_http_date(text, now) for now in (0, NOW)]
    assert [format_http_date(seconds or 0)[12:16] for seconds in read] == [b"1924", b"2024"]


def test_a_leap_day_is_looked_for_in_the_century_before() -> None:
    in_2150 = 5_680_281_600
    assert parse_http_date(b"Tuesday, 29-Feb-00 00:00:00 GMT", in_2150) == 951_782_400


def test_imf_fixdate_is_written() -> None:
    assert format_http_date(EXAMPLE) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_years_without_four_digits_are_not_written() -> None:
    with pytest.raises(OverflowError):
        format_http_date(YEAR_9999 + 1)


@given(st.integers(YEAR_1, YEAR_9999))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_http_date(format_http_date(seconds), NOW) == seconds


@given(st.binary(max_size=40), st.integers(0, 2**33))
def test_any_octets_are_borne(value: bytes, now: int) -> None:
    assert parse_http_date(value, now) is None
