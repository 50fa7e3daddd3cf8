"""A site over HTTP: PHP's web server, and nginx with TLS before it."""

import time

import pytest
from support.php_site import PhpSite
from support.pipe_helpers import poller  # noqa: F401
from support.tls import certificates, nginx
from support.ways import ADDRESS

from coworker.civi import queues
from coworker.civi.http import WebClient, WebLink
from coworker.civi.http_answers import WebError
from coworker.config.web import read_address
from coworker.errors import BootError, CallError, ForbiddenError, PipeTimeoutError


@pytest.fixture
def site(tmp_path):
    return PhpSite(tmp_path)


@pytest.fixture
def url(site):
    with site.serve() as url:
        yield url


@pytest.fixture
def connect(poller):  # noqa: F811
    links = []

    def connect(url, token="SECRET", ca_file=None, call_timeout=20.0, header="X-Civi-Auth", site_key=None):
        address = read_address(url if "{" in url else url + ADDRESS)
        links.append(WebLink(address, ca_file=ca_file and str(ca_file), poller=poller))
        return WebClient(
            links[-1], address, credential=lambda _: token, header=header, site_key=site_key,
            call_timeout=call_timeout,
        )  # fmt: skip

    yield connect
    for link in links:
        link.end()


def handshake(client, minimum="5.51"):
    return client.handshake(minimum_version=minimum, deadline=time.monotonic() + 20)


@pytest.mark.parametrize("address", [ADDRESS, "/?civiwp=CiviCRM&q=civicrm/ajax/api4/{entity}/{action}"])
def test_claims_and_runs(site, url, connect, address):
    site.queue("a", batch_limit=2)
    site.push("a", "empty", times=3)
    client = connect(url + address)
    assert handshake(client).version == "6.13.3"
    assert client.contact == 2
    items = queues.claim(client, "a")
    assert [item.id for item in items] == ["1", "2"]
    assert set(queues.run(client, "a", ["1", "2"]).values()) == {"ok"}
    several = client.api4_batch([("Queue", "get", {}), ("Queue", "claimItems", {"queue": "x"})])
    assert several[0][0]["name"] == "a"
    assert isinstance(several[1], CallError)
    assert 'Missing field "type"' in str(several[1])


@pytest.mark.parametrize(
    ("fault", "says", "processed"),
    [
        ("page", "the site answers with a page, not with JSON: is the address in web right?; it says: The",
         True),
        ("401", "the site refuses the credential (HTTP 401)", False),
        ("404", "there is nothing at this address (HTTP 404): is the address in web right?", False),
        ("403", "the web server, or a firewall before it, refuses the request (HTTP 403)", False),
        ("405", "the site takes no POST at this address (HTTP 405)", False),
        ("500", "HTTP 500; it says: Bad gateway: nobody knows how far the request came", True),
        ("502", "HTTP 502; it says: Bad gateway: nobody knows", True),
        ("504", "HTTP 504; it says: Bad gateway: nobody knows", True),
        ("503", "the site is in maintenance or overloaded (HTTP 503: Site is in maintenance mode)", False),
        ("redirect https://elsewhere.example/x?token=1",
         "redirects to https://elsewhere.example/x (HTTP 302): give that address in web", False),
        ("huge", "the answer has more than 16 MiB", True),
    ],
)  # fmt: skip
def test_each_answer_that_is_none_says_what_it_is(site, url, connect, fault, says, processed):
    client = connect(url)
    handshake(client)
    site.configure(http_fault=fault)
    with pytest.raises(WebError) as caught:
        queues.claim(client, "a")
    assert says in str(caught.value)
    assert client.pipe.request_sent is caught.value.processed is processed
    site.configure(http_fault=None)
    handshake(client)  # the connection is still good


def test_permission_and_credential(site, url, connect):
    site.configure(tokens={"SECRET": 2, "OTHER": 3})
    site.queue("a")
    with pytest.raises(
        BootError, match=r"refuses the credential \(HTTP 401\); it says: HTTP 401 Invalid cred"
    ):
        handshake(connect(url, token="WRONG"))
    with pytest.raises(BootError, match=r"needs 'access CiviCRM' and 'administer queues'"):
        handshake(connect(url, token="OTHER"))
    client = connect(url)
    handshake(client)
    site.configure(admins=[])
    with pytest.raises(ForbiddenError):
        queues.claim(client, "a")
    assert not client.pipe.request_sent
    with pytest.raises(BootError, match=r"CiviCRM 6.13.3 is too old, 6.14 is needed"):
        site.configure(admins=[2])
        handshake(connect(url), minimum="6.14")


def test_fewer_requests_are_made_as_slowly_as_the_site_says(site, url, connect, poller):  # noqa: F811
    client = connect(url)
    handshake(client)
    site.queue("a")
    site.configure(http_fault="429", retry_after=1)
    waits = []
    rest = client.pipe.rest
    client.pipe.rest = lambda seconds: (waits.append(seconds), site.configure(http_fault=None), rest(0.01))
    assert queues.claim(client, "a") == []
    assert waits == [1.0]
    site.configure(http_fault="429", retry_after=3000)
    with pytest.raises(WebError, match="wants fewer requests") as caught:
        queues.claim(client, "a")
    assert not caught.value.processed


def test_nobody_there_and_nobody_answers(site, url, connect):
    with pytest.raises(BootError, match=r"cannot connect to http://127.0.0.1:1: "):
        handshake(connect("http://127.0.0.1:1"))
    with pytest.raises(BootError, match=r"cannot connect to https://nowhere.invalid: "):
        handshake(connect("https://nowhere.invalid"))
    client = connect(url)
    handshake(client)
    site.configure(http_fault="hang", http_fault_on="claimItems")
    with pytest.raises(PipeTimeoutError, match="did not answer in time"):
        queues.claim(client, "a", timeout=0.3)
    assert client.pipe.request_sent


@pytest.mark.parametrize("token", ["SEC\x00RET", "SECRET\n1", "SECRÉT"])
def test_a_credential_that_no_header_can_carry_is_refused_and_not_told(url, connect, token):
    with pytest.raises(BootError, match="the header X-Civi-Auth would have characters") as caught:
        handshake(connect(url, token=token))
    error = caught.value
    while error is not None:
        assert "SEC" not in str(error)
        error = error.__cause__ or error.__context__


def test_tls_is_verified(tmp_path, url, connect):
    ca = certificates(tmp_path)
    with nginx(tmp_path, url) as good, nginx(tmp_path, url, "expired") as expired, \
            nginx(tmp_path, url, "other") as other:  # fmt: skip
        assert handshake(connect(good, ca_file=ca)).version == "6.13.3"
        for address, says, trusted in (
            (good, "unable to get local issuer certificate", None),
            (expired, "certificate has expired", ca),
            (other, "IP address mismatch", ca),
        ):
            with pytest.raises(BootError, match="cannot connect to") as caught:
                handshake(connect(address, ca_file=trusted))
            assert says in str(caught.value)
    with pytest.raises(BootError, match=r"web_ca_file .*nothing.pem cannot be used: No such file"):
        connect(good, ca_file=tmp_path / "nothing.pem")


def test_a_proxy_that_gives_up_leaves_the_outcome_unknown(tmp_path, site, url, connect):
    ca = certificates(tmp_path)
    site.configure(http_fault="hang", http_fault_on="claimItems")
    with nginx(tmp_path, url, timeout="1s") as address:
        client = connect(address, ca_file=ca)
        handshake(client)
        with pytest.raises(WebError, match="HTTP 504") as caught:
            queues.claim(client, "a")
        assert caught.value.processed


def test_a_contact_that_cannot_be_leaves_us_who_we_are(site, url, connect):
    def credential(contact):
        if contact is not None:
            raise CallError("cannot act as that")
        return "SECRET"

    client = connect(url)
    client._credential = credential
    handshake(client)
    site.queue("a")
    with pytest.raises(CallError, match="cannot act as that"):
        client.login(3)
    assert queues.claim(client, "a") == []
    client.login(2)
    client.login(None)
    assert queues.claim(client, "a") == []


def test_proxies_are_taken_from_the_environment(monkeypatch, url, connect):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(BootError, match="cannot connect to"):
        handshake(connect(url))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handshake(connect(url))


def test_the_other_header_and_the_key_of_the_site(site, url, connect):
    assert handshake(connect(url, header="Authorization")).version == "6.13.3"
    site.configure(site_key="KEY")
    with pytest.raises(BootError, match=r"HTTP 401\); it says: HTTP 401 Missing required site key"):
        handshake(connect(url))
    assert handshake(connect(url, site_key="KEY")).version == "6.13.3"


@pytest.mark.parametrize("token", ["a\0b", "a\r\nX-Other: b", "\udc80", "\u202e"])
def test_what_no_header_can_carry_is_refused_before_anything_is_sent(url, connect, token):
    client = connect(url, token=token)
    with pytest.raises(WebError, match="X-Civi-Auth would have characters"):
        client.api4("Domain", "get", {})
    assert not client.pipe.request_sent
