"""What all tests share: the profiles of hypothesis, and the rule that CI skips nothing that it was not told of."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from e2e_support import Applier, applier_named

CI: Final = os.environ.get("CI") == "true"

# Reasons for which a test may be skipped when CI=true: things that a runner may honestly lack. Whatever else is skipped
# there fails instead, so that a missing tool or a typo in a condition cannot switch a test off unseen.
ALLOWED_SKIPS: Final = (
    r"needs root",
    r"this file system has no user xattrs",
    r"runs as root, which may write anywhere",
    r"runs as root, which may read anything",
    r"no openssl command",
    r"no groff command",
    r"system calls are changed on x86-64 only",
)

# A runner may have been started with signals ignored (nohup, a shell's background job); children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _signal in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(_signal, signal.SIG_DFL)

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if CI else "default")


@pytest.fixture(scope="session", params=["otastream", "otaunpack"])
def applier(request: pytest.FixtureRequest) -> Applier:
    """Both programs that apply packages, one after the other."""
    return applier_named(str(request.param))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip with a reason that is not on the list into a failure (only in CI)."""
    if not (CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which CI does not allow for this reason: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
