"""Asking the control API of a running proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any

import click

from caching_proxy.settings import StoreSettings

TIMEOUT = 60.0  # seconds; a reload may take twice --start-timeout


def ask(
    settings: StoreSettings, method: str, path: str, content: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON answer of the running proxy to a request, with `content` as JSON in its body.

    ClickException (one line) when there is no answer, and when it says what is wrong.
    """
    place = f"{settings.admin_host}:{settings.admin_port}"
    connection = http.client.HTTPConnection(
        settings.admin_host, settings.admin_port, timeout=TIMEOUT
    )
    try:
        asked = None if content is None else json.dumps(content)
        connection.request(method, path, asked, _credentials(settings))
        response = connection.getresponse()
        status, body = response.status, response.read()
    except TimeoutError:
        raise click.ClickException(
            f"the proxy at {place} has not answered within {TIMEOUT:g} s: see its log"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise click.ClickException(
            f"no running proxy answers at {place} ({reason}): start one, or name its admin port"
            " with --admin-port"
        ) from None
    finally:
        connection.close()
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if status in (400, 401, 413) and isinstance(answer, dict) and "error" in answer:
        raise click.ClickException(str(answer["error"]))
    if status != 200 or not isinstance(answer, dict):
        raise click.ClickException(
            f"what answers at {place} (status {status}) is not the admin API of a proxy: name"
            " its port with --admin-port"
        )
    return answer


def warn_of_pending(receipt: dict[str, Any]) -> None:
    """Say so where a purge has not reached the whole fleet."""
    if receipt.get("pending"):
        click.echo(
            "Redis does not answer: other proxies hear of this once it is back. What they have in"
            " memory until then can be cleared at each one's --admin-port.",
            err=True,
        )


def asks_redis(settings: StoreSettings) -> bool:
    """Whether a command is for Redis itself: it is named and no proxy, or none answers."""
    given = settings.model_fields_set
    if given & {"admin_port", "admin_host"}:
        return False
    return bool(given & {"redis_url", "redis_host", "redis_port", "use_cluster"}) or not _answers(
        settings
    )


def _answers(settings: StoreSettings) -> bool:
    """Whether anybody is at the admin port."""
    with contextlib.suppress(OSError):
        socket.create_connection((settings.admin_host, settings.admin_port), 1).close()
        return True
    return False


def _credentials(settings: StoreSettings) -> dict[str, str]:
    if settings.admin_token is None:
        return {}
    return {"Authorization": f"Bearer {settings.admin_token}"}
