"""Who the session is: trusted or not, and logged in once for life (contract A2)."""

from __future__ import annotations

from typing import Any

from coworker.civiserver.errors import ApiError
from coworker.civiserver.site_store import Contact, SiteStore
from coworker.model import Identity

_PRINCIPALS = ("contactId", "userId", "user")


class Login:
    """The identity of one session. `trusted` is None when the client asked for neither `t` nor `u`."""

    def __init__(self, site: SiteStore, domain: int, trusted: bool | None) -> None:
        self._site = site
        self._domain = domain
        self._trusted = trusted
        self._contact: Contact | None = None

    @property
    def identity(self) -> Identity:
        return Identity(self._contact.id if self._contact else None, self._domain)

    @property
    def permitted(self) -> bool:
        """Whether the session's own permissions suffice: here users may do everything, others nothing."""
        return self._contact is not None and self._contact.user_id is not None

    @property
    def trusted(self) -> bool:
        """Whether the session is trusted. Raises ApiError when the client has not said which it wants."""
        if self._trusted is None:
            raise ApiError(
                "Civi\\Pipe\\PipeSession::isTrusted(): Return value must be of type bool, null returned"
            )
        return self._trusted

    def log_in(self, params: dict[str, Any]) -> dict[str, int]:
        """Log in, and return `{contactId}` and, if there is a user, `{userId}`.

        Raises ApiError for everything that CiviCRM refuses.
        """
        principal = {key: params[key] for key in _PRINCIPALS if key in params}
        if principal and not self.trusted:
            raise ApiError("Session is not trusted.")
        if not principal:
            if params.get("cred") is not None:
                raise ApiError("Invalid credential")
            raise ApiError("Cannot authenticate. Must specify principal/credentials.")
        contact = self._find(principal)
        if contact.is_blocked:
            raise ApiError("Cannot login. The user account is blocked.")
        if self._contact is not None and (contact.user_id is None or contact != self._contact):
            raise ApiError("Cannot login. A mismatched session is already active.")
        self._contact = contact
        return {
            "contactId": contact.id,
            **({} if contact.user_id is None else {"userId": contact.user_id}),
        }

    def _find(self, principal: dict[str, Any]) -> Contact:
        contact_id, user_id = _number(principal.get("contactId")), _number(principal.get("userId"))
        if contact_id:
            found = self._site.contact(contact_id=contact_id)
            if found is None:
                raise ApiError(f"Contact ID {contact_id} is invalid")
            return found
        if not user_id:
            raise ApiError("Must specify principal with valid user, userId, or contactId")
        found = self._site.contact(user_id=user_id)
        if found is None:
            raise ApiError("Cannot login. Failed to determine contact ID.")
        return found


def _number(value: Any) -> int | None:
    """Read an id as clients write them: a number or its digits."""
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None
