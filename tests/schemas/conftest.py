"""How long may a property take? As long as a machine needs that is busy with other tests."""

from hypothesis import HealthCheck, settings

settings.register_profile("ioc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ioc")
