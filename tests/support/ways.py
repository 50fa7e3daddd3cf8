"""The ways to reach a PHP site: what its table of settings says, and the servers behind it."""

import shlex
from contextlib import ExitStack, contextmanager

from support.php_site import PhpSite
from support.sshd import sshd
from support.tables import site_table

WAYS = ("minipipe", "ssh", "web", "pipe,web", "web,pipe")
ADDRESS = "/civicrm/ajax/api4/{entity}/{action}"


def token_file(directory, text="SECRET"):
    path = directory / "token"
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


@contextmanager
def reached(directory, way, *, layout="wordpress", **config):
    """(site, function that gives its table): `values` are more of its settings."""
    with ExitStack() as stack:
        site = PhpSite(directory / "php", layout, **config)
        fields = {"cwd": str(site.root)}
        if way == "ssh":
            server = stack.enter_context(sshd(directory / "sshd"))
            site.server = server
            fields = {**server.settings(), "cwd": str(site.root), "pipe": adapter()}
        if "web" in way:
            url = stack.enter_context(site.serve())
            fields = {"web": url + ADDRESS, "web_token_file": str(token_file(directory)), "channel": way}
        if way in ("minipipe", "pipe,web", "web,pipe"):
            fields = {**fields, "cwd": str(site.root), "pipe": "MINIPIPE vtl"}

        def site_settings(**values):
            given = {**fields, **values}
            return site_table(given.pop("pipe", None), **given)

        yield site, site_settings


def adapter():
    """The adapter as it would lie on the far side."""
    from coworker.civi.launch import ADAPTER

    return f"php {shlex.quote(str(ADAPTER))} vtl"
