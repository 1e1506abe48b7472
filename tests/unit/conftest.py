"""What every unit test has: no deadline on a generated example, since the machine may be busy."""

import pytest
from hypothesis import settings

from tests.unit.simfleet import SPARSE

settings.register_profile("fleet", deadline=None)
settings.load_profile("fleet")


@pytest.fixture(params=["dense", "sparse"])
def rates(request):
    """The default rates, and the lab's."""
    return request.param, SPARSE if request.param == "sparse" else {}
