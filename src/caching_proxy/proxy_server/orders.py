"""What operators want of servers."""

from __future__ import annotations

from collections.abc import Mapping

from caching_proxy.proxy_server.discovery import Member, host_port

ORDERS = ("ready", "drain", "disabled")
"""What an operator may want of a server."""
OfOrigin = Mapping[str, Mapping[str, str]]
"""Server as configured (HOST:PORT) -> what it, or one of its addresses, is called -> order."""
Orders = dict[str, dict[str, dict[str, str]]]
"""By origin. It goes to other processes as JSON."""


def order_of(member: Member, orders: OfOrigin) -> str:
    """What is wanted of a server: what its address was told, else what its name was."""
    told = orders.get(member.configured, {})
    names = [host_port(*address) for address in member.addresses]
    return next((told[name] for name in [*names, member.configured] if name in told), ORDERS[0])
