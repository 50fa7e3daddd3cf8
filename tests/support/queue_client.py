"""A client of a session in the same process."""

import json

import pytest

from coworker.civiserver.errors import ApiError
from coworker.civiserver.release import Release
from coworker.civiserver.service import QueueService
from coworker.civiserver.session import Session


class Client:
    """Talks to a session in this process."""

    def __init__(self, site, flags="vtl", version="6.13.3", domain=1, checks=False):
        self.service = QueueService(site, Release(version), domain)
        self.session = Session(self.service, flags)
        if not checks:
            self.call("options", {"apiCheckPermissions": False})

    def call(self, method, params):
        """The result, or the error's message as an ApiError."""
        line = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode()
        response = json.loads(self.session.answer(line))
        if "error" in response:
            raise ApiError(response["error"]["message"], response["error"]["code"])
        return response["result"]

    def api4(self, entity, action, **params):
        return self.call("api4", [entity, action, params])


def refused(function, *arguments, **more):
    with pytest.raises(ApiError) as error:
        function(*arguments, **more)
    return str(error.value)
