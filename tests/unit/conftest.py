"""What every unit test has: no deadline on a generated example, since the machine may be busy."""

from hypothesis import settings

settings.register_profile("fleet", deadline=None)
settings.load_profile("fleet")
