"""A session: what the transcripts do not show of the protocol and of logins (contract A1, A2)."""

import json

import pytest
from support.queue_client import Client, refused

from coworker.civiserver.errors import ApiError
from coworker.civiserver.service import QueueService
from coworker.civiserver.session import Session
from coworker.civiserver.site_store import open_site


@pytest.fixture
def site():
    site = open_site("memory:")
    yield site
    site.close()


@pytest.fixture
def client(site):
    return Client(site)


# the protocol


@pytest.mark.parametrize(
    ("flags", "header"),
    [
        ("vtl", '{"Civi::pipe":{"v":"6.13.3","t":"trusted","l":["login"]}}'),
        ("", '{"Civi::pipe":null}'),
        ("zz", '{"Civi::pipe":{"z":null}}'),
        ("uj", '{"Civi::pipe":{"u":"untrusted","j":["jsonrpc-2.0"]}}'),
    ],
)
def test_welcome(site, flags, header):
    assert Session(QueueService(site), flags).welcome() == header


def test_trusted_and_untrusted_at_once_is_fatal(site):
    with pytest.raises(ApiError, match="both trusted and untrusted"):
        Session(QueueService(site), "ut")


@pytest.mark.parametrize(
    ("method", "params"), [("api4", ["Queue", "get", {}]), ("login", {"contactId": 2}), ("api3", ["A", "b"])]
)
def test_with_neither_t_nor_u_every_call_dies_of_a_type_error(site, method, params):
    client = Client(site, flags="v", checks=True)
    assert "Return value must be of type bool, null returned" in refused(client.call, method, params)
    assert client.call("echo", [1]) == [1]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"null", -32700),
        (b'"\xff"', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","params":["\\ud800"]}', -32700),
        (b"5", -32600),
        (b"[null]", -32600),
        (b'{"jsonrpc":"2.0","method":null}', -32600),
        (b'{"jsonrpc":"2.0","method":7,"id":1}', -32600),
        (b'{"method":"echo","id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":"_api4","id":1}', -32601),
        (b'{"jsonrpc":"2.0","method":"Echo","id":1}', -32601),
        (b'{"jsonrpc":"2.0","method":"api4","params":["Queue"]}', -32099),
        (b'{"jsonrpc":"2.0","method":"api4","params":["Queue","get",5]}', -32099),
        (b'{"jsonrpc":"2.0","method":"api4","params":{"entity":"Queue"}}', -32099),
    ],
)
def test_what_is_no_request(client, line, code):
    assert json.loads(client.session.answer(line))["error"]["code"] == code


def test_lines_that_are_ignored(client):
    assert client.session.answer(b"") is None
    assert client.session.answer(b"0") is None


def test_a_batch_answers_each_request_in_order_and_an_id_of_null_is_an_id(client):
    line = (
        b'[{"jsonrpc":"2.0","method":"nope","id":null},5,{"jsonrpc":"2.0","method":"echo","params":{}},'
        b'{"jsonrpc":"2.0","method":"api4","params":["Queue","get",[]],"id":4}]'
    )
    first, second, third, fourth = json.loads(client.session.answer(line))
    assert (first["error"]["code"], first["id"]) == (-32601, None)
    assert (second["error"]["code"], "id" in second) == (-32600, False)
    assert (third["result"], "id" in third) == ([], False)
    assert fourth == {"jsonrpc": "2.0", "result": [], "id": 4}


def test_a_result_that_cannot_be_encoded_is_an_empty_line(client):
    client.service.create_queue("q")
    client.service.push("q", "a:b", "\ud800")
    client.session.options["responsePrefix"] = "\x01"
    line = b'{"jsonrpc":"2.0","method":"api4","params":["Queue","claimItems",{"queue":"q"}],"id":1}'
    assert client.session.answer(line) == b"\x01\n"
    assert client.service.claim("q") == []  # leased, and nobody knows


def test_options_answer_what_was_set(client):
    assert client.call("options", {"bufferSize": 1024, "apiError": "array"}) == {
        "bufferSize": 1024,
        "apiError": "array",
    }
    assert client.call("options", []) == {
        "apiCheckPermissions": False,
        "apiError": "array",
        "bufferSize": 1024,
        "responsePrefix": None,
    }


@pytest.mark.parametrize("options", [{"bufferSize": "big"}, {"bufferSize": 0}, {"responsePrefix": 5}])
def test_options_of_the_wrong_type(client, options):
    assert "must be of type" in refused(client.call, "options", options)
    assert client.call("options", [])["bufferSize"] == 524288


def test_errors_as_arrays(client):
    client.call("options", {"apiError": "array"})
    assert client.api4("Nope", "get")["is_error"] == 1
    assert client.api4("Queue", "get") == []


# permissions and logins


def test_calls_are_checked_unless_a_trusted_client_says_otherwise(site):
    client = Client(site, checks=True)
    message = "Authorization failed: CiviCRM APIv4 (Queue::get)"
    assert refused(client.api4, "Queue", "get") == message
    assert client.api4("Queue", "get", checkPermissions=False) == []
    client.call("login", {"contactId": 2})
    assert client.api4("Queue", "get") == []


def test_a_contact_without_a_user_has_no_permissions(site):
    client = Client(site, checks=True)
    client.call("login", {"contactId": 1})
    assert "Authorization failed" in refused(client.api4, "Queue", "get")


def test_an_untrusted_client_cannot_switch_the_checks_off(site):
    client = Client(site, flags="u", checks=True)
    assert client.call("options", {"apiCheckPermissions": False}) == []
    assert "Authorization failed" in refused(client.api4, "Queue", "get", checkPermissions=False)


def test_data_is_hidden_when_permissions_are_checked(site):
    client = Client(site, checks=True)
    client.call("login", {"contactId": 2})
    client.service.push("q", "a:b")
    (row,) = client.api4("QueueItem", "get", select=["id", "data"])
    assert row == {"id": 1}


@pytest.mark.parametrize(
    ("first", "second", "accepted"),
    [
        ({"contactId": 2}, {"contactId": "2"}, True),
        ({"contactId": "2"}, {"userId": 1}, True),
        ({"contactId": 2}, {"contactId": 1}, False),
        ({"contactId": 1}, {"contactId": 1}, False),
        ({"contactId": 1}, {"contactId": 2}, False),
    ],
)
def test_one_identity_for_life(client, first, second, accepted):
    client.call("login", first)
    if accepted:
        assert client.call("login", second) == {"contactId": 2, "userId": 1}
    else:
        assert (
            refused(client.call, "login", second) == "Cannot login. A mismatched session is already active."
        )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"contactId": 99}, "Contact ID 99 is invalid"),
        ({"userId": 99}, "Cannot login. Failed to determine contact ID."),
        ({"contactId": None}, "Must specify principal with valid user, userId, or contactId"),
        ({"contactId": "two"}, "Must specify principal with valid user, userId, or contactId"),
        ({"user": "admin"}, "Must specify principal with valid user, userId, or contactId"),
        ({"cred": "Bearer x"}, "Invalid credential"),
        ([], "Cannot authenticate. Must specify principal/credentials."),
    ],
)
def test_logins_that_are_refused_leave_the_session_free(client, params, message):
    assert refused(client.call, "login", params) == message
    assert client.call("login", {"contactId": 1}) == {"contactId": 1}


def test_a_blocked_user_cannot_log_in(client):
    client.api4("Contact", "create", values={"id": 7, "user_id": 70, "is_blocked": True})
    assert "blocked" in refused(client.call, "login", {"contactId": 7})


def test_tasks_run_as_the_session_that_logged_in(client):
    client.service.create_queue("q")
    client.service.push("q", "builtins:repr", run_as={"contactId": 2, "domainId": 1})
    client.call("login", {"contactId": 2})
    assert client.api4("Queue", "runItems", queue="q")[0]["outcome"] == "ok"
