"""What every test session keeps to."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

NO_SKIPS = "CACHING_PROXY_NO_SKIPS"

# How long an example takes tells of the machine, not of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CACHING_PROXY_NO_SKIPS=1 a skipped test makes the whole session fail."""
    if os.environ.get(NO_SKIPS) != "1":
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.stats.get("skipped"):
        return
    reporter.write_line(f"{NO_SKIPS}=1: skipped tests count as failures", red=True)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
