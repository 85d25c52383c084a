"""What settings are grouped under, in help and reference, and the units of their bounds."""

from __future__ import annotations

KB, MB, GB, TB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

LISTENING = "Listening"
WORKERS = "Workers and configuration"
ORIGIN = "Origin"
FORWARDING = "Forwarding"
CACHE = "Cache"
LIMITS = "Timeouts and limits"
CONTROL = "Control and logs"
REDIS = "Redis"
BALANCING = "Load balancing"
HEALTH = "Health checks"
FAILING = "Failing servers"
GROUPS = (
    *(LISTENING, WORKERS, ORIGIN, CACHE, LIMITS, FORWARDING, CONTROL, REDIS),
    *(BALANCING, HEALTH, FAILING),
)
# Of tables of the configuration file, not of the command line.
MATCH = "Match"
ACTION = "Action"
