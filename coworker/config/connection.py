"""What can be said only of all settings together that tell how a site is reached."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from coworker.config.secret import illegal, read_secret
from coworker.config.settings import Config, SiteSettings
from coworker.config.web import read_address

_OTHERS = stat.S_IRGRP | stat.S_IROTH


def contradictions(site: SiteSettings, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """Return (field, what is wrong with it) for each contradiction; `given`: the fields that were given."""
    over_web = "web" in site.channels
    if over_web and site.web is None and "channel" in given:
        yield "channel", f"is {site.channel}, but web is not given"
    elif over_web:
        yield from _web(site, "domains" in given)
    elif site.web is not None:
        yield "web", f"is given, but the channel is {site.channel}"
    for name in ("ssh_options", "ssh_key_file"):
        if name in given and site.ssh is None:
            yield name, "is given, but ssh is not"
    if site.ssh is not None and (site.ssh.startswith("-") or any(char.isspace() for char in site.ssh)):
        yield "ssh", "must be host or user@host; options go into ssh_options"
    if site.ssh is not None and "MINIPIPE" in site.pipe.split():
        yield (
            "pipe",
            "MINIPIPE is not on the host of ssh: give a command that is, as cv pipe vtl",
        )
    if "web_contact" in given and not site.is_hybrid:
        yield "web_contact", 'is for channel = "pipe,web" only'


def how_to_get(library: str, package: str) -> str:
    """The command that installs a library for this Python: a package for Debian's, else its own pip."""
    if sys.prefix == sys.base_prefix == "/usr":
        return f"apt-get install {package}"
    return f"{sys.prefix}/bin/pip install '{library}'"


def _web(site: SiteSettings, has_domains: bool) -> Iterator[tuple[str, str]]:
    address = read_address(site.web or "")
    tokens = [site.web_token, site.web_token_file, address.token]
    count = sum(each is not None for each in tokens)
    if count > 1:
        yield "web", "the credential is given more than once: web_token_file, web_token, or ?token= in web"
    if not count and not (site.is_hybrid and site.web_contact):
        yield "web", "has no credential: give web_token_file"
    for name, token in (("web_token", site.web_token), ("web", address.token)):
        if token and (problem := illegal(token)):
            yield name, f"the credential cannot be used: {problem}"
    if find_spec("httpx") is None:
        yield "web", f"needs httpx: {how_to_get('httpx >= 0.23', 'python3-httpx')}"
    if has_domains:
        yield "domains", "need pipes: they cannot be reached over web"


def warnings(config: Config) -> list[tuple[str, str]]:
    """Return (site, what an administrator should know before anybody else does)."""
    plain = "web_token stands in the settings: web_token_file, or the environment, is safer"
    found = [(name, plain) for name in config.plain_tokens]
    found += [(site.name, text) for site in config.sites for text in _warnings(site)]
    return [*found, *_twins(config.sites)]


def _twins(sites: Sequence[SiteSettings]) -> Iterator[tuple[str, str]]:
    """Find sites that another one is already, as far as their settings tell."""
    seen: dict[tuple[str, ...], str] = {}
    for site in sites:
        # One command in one directory of one host leads to one site.
        place = "" if site.cwd is None else os.path.realpath(site.cwd)
        ways: list[tuple[str, ...]] = [(site.ssh or "", place, site.pipe)] if site.needs_pipe else []
        if site.web is not None:
            ways.append((read_address(site.web).template,))
        other = next((seen[way] for way in ways if way in seen), None)
        if other is not None:
            yield (
                site.name,
                f"is the same site as {other}: limits and leases count twice, so keep one of them",
            )
        for way in ways:
            seen.setdefault(way, site.name)


def tell(config: Config, log: Callable[..., None]) -> None:
    """Log the warnings."""
    for site, reason in warnings(config):
        log("warning", "unsafe_settings", site=site, reason=reason)


def _warnings(site: SiteSettings) -> Iterator[str]:
    if site.web is None:
        return
    address = read_address(site.web)
    if address.is_plain:
        yield f"the credential goes to {address.origin} unencrypted: use https"
    if address.token:
        yield "the credential stands in the URL: web_token_file is safer"
    for name in ("web_token_file", "web_site_key_file"):
        path: Path | None = getattr(site, name)
        if path is not None:
            yield from _warnings_of_file(name, path)


def _warnings_of_file(name: str, path: Path) -> Iterator[str]:
    try:
        if path.stat().st_mode & _OTHERS:
            yield f"{name} {path} can be read by others: chmod 600 {path}"
        read_secret(path)
    except PermissionError:
        pass  # the daemon may be another user, who can
    except OSError as error:
        yield f"the credential in {path} cannot be read: {error.strerror}"
    except ValueError as error:
        yield str(error)
