"""How a child reaches its site: a pipe that it starts, or HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from coworker.civi import launch
from coworker.civi.adapter import AdapterRows
from coworker.civi.client import Client
from coworker.civi.connection import Connection, SiteClient
from coworker.civi.pipe import Pipe
from coworker.claims.beginnings import VARIABLE
from coworker.config.remote import seems_remote
from coworker.config.secret import read_secret
from coworker.config.settings import Config, SiteSettings
from coworker.config.web import read_address
from coworker.errors import BootError, CallError
from coworker.model import Role
from coworker.unix.poller import Poller

if TYPE_CHECKING:
    from coworker.civi.http import WebLink


def way(site: SiteSettings, role: Role) -> str:
    """How a child of this role reaches the site: by `pipe` or by `web`."""
    return site.channels[role is Role.WORKER]


def start_pipe(
    site: SiteSettings,
    poller: Poller,
    notes: Path | None = None,
    cache: Path | None = None,
    token: str = "",
) -> Pipe:
    """Start the site's own command, MINIPIPE expanded. Raises BootError.

    `notes` is the file in which the pipe is to note what it begins, if it is one that does, and `cache` the
    directory in which PHP is to keep its compiled code. By `token`, which only a child has, all that it
    starts is known.
    """
    command = launch.expand(site.pipe, cache)
    env = launch.environment(os.environ, token)
    env.pop(VARIABLE, None)
    if notes is not None:
        env[VARIABLE] = str(notes)
    # What a remote command has left beside its group is the connection that all workers share (rule 9).
    adopts = bool(token) and not site.is_remote
    return Pipe(command, cwd=site.cwd, env=env, poller=poller, name=site.pipe, adopts=adopts)


def preload(config: Config) -> None:
    """Import what a child will need for HTTP, as long as we may read our own files."""
    if any("web" in site.channels for site in config.sites):
        import coworker.civi.http  # noqa: PLC0415

        coworker.civi.http.preload()


def connect(
    site: SiteSettings,
    role: Role,
    poller: Poller,
    notes: Path | None = None,
    cache: Path | None = None,
    token: str = "",
) -> Connection:
    """Connect a child of this role to the site; the rest is as in `start_pipe`. Raises BootError."""
    if way(site, role) == "pipe":
        return start_pipe(site, poller, notes, cache, token)
    return _web_link(site, poller)


def _web_link(site: SiteSettings, poller: Poller) -> WebLink:
    from coworker.civi.http import WebLink  # noqa: PLC0415 - httpx is an extra, and takes its time

    ca_file = str(site.web_ca_file) if site.web_ca_file else None
    return WebLink(read_address(site.web or ""), ca_file=ca_file, poller=poller)


def client_of(
    site: SiteSettings, connection: Connection, token_of: Callable[[int], str] | None
) -> SiteClient:
    """Make the client. Raises BootError without a credential.

    `token_of` gives a short-lived credential for a contact, or raises CallError.
    """
    limit = site.workers.boot_timeout
    if isinstance(connection, Pipe):
        return Client(connection, call_timeout=limit)
    from coworker.civi.http import WebClient  # noqa: PLC0415

    own = _secret(site.web_token_file) or site.web_token or read_address(site.web or "").token

    def credential(contact: int | None) -> str:
        wanted = site.web_contact if contact is None else contact
        if contact is None and own:
            return own
        if token_of is None or wanted is None:
            raise CallError(f"cannot act as contact {wanted} with this credential over HTTP")
        return token_of(wanted)

    return WebClient(
        connection,  # type: ignore[arg-type]
        read_address(site.web or ""),
        credential=credential,
        header=site.web_header,
        site_key=_secret(site.web_site_key_file),
        call_timeout=limit,
    )


def adapter_of(
    site: SiteSettings, poller: Poller, cache: Path | None = None
) -> Callable[[], AdapterRows] | None:
    """How to start what settles where there is no QueueItem API: the adapter, if the site's pipe starts it.

    Only then is it surely the same site, and the same database.
    """
    if not site.needs_pipe or seems_remote(site.pipe) or not launch.uses_adapter(site.pipe):
        return None
    timeout = site.workers.boot_timeout
    return lambda: AdapterRows(site.pipe, cwd=site.cwd, poller=poller, timeout=timeout, cache=cache)


def _secret(path: Path | None) -> str | None:
    """The credential in a file; None without one. Raises BootError."""
    try:
        return None if path is None else read_secret(path)
    except OSError as error:
        raise BootError(f"the credential in {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BootError(str(error)) from error
