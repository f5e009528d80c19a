"""How the tests are spread over several processes (`pytest -n 3 --dist loadscope`)."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Beside other tests a machine may be slow at any moment: that is no failure.
settings.register_profile(
    "beside others", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("beside others")


class ByFile(LoadScopeScheduling):
    """A file's tests go to one process, for they share servers.

    The conformance suite shares its nodes over all files, those with the lane and those without.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        for way in ("[--lane on", "[--lane off"):
            if way in test and file.startswith("tests/conformance/"):
                return way
        return file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)
