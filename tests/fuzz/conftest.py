import pytest
from fuzzing import AT_LEAST, NIGHTLY, cases, prepare_for_the_night


def pytest_configure(config):
    if NIGHTLY:
        prepare_for_the_night()


def pytest_sessionfinish(session, exitstatus):
    if NIGHTLY and exitstatus == pytest.ExitCode.OK and cases.total() < AT_LEAST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if not NIGHTLY:
        return
    terminalreporter.section("fuzz")
    for surface, count in cases.items():
        terminalreporter.write_line(f"{count:>8,} {surface.replace('_', ' ')}")
    findings = len(terminalreporter.getreports("failed"))
    terminalreporter.write_line(f"{cases.total():>8,} cases, {findings} tests with findings")
    if cases.total() < AT_LEAST:
        terminalreporter.write_line(f"Too few: {AT_LEAST:,} are a night's work.")
