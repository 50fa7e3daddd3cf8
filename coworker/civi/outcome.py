"""What became of the items that were sent: the answer of runItems, read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coworker.errors import ProtocolError
from coworker.model import Outcome


class Outcomes(dict[str, Outcome]):
    """What became of each item that was sent, by its id; `oddities` are remarks for the log."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        super().__init__(dict.fromkeys(item_ids, Outcome.UNKNOWN))
        self.oddities: list[str] = []

    @property
    def any_ok(self) -> bool:
        """Whether something ran, for certain."""
        return Outcome.OK in self.values()

    @property
    def all_ok(self) -> bool:
        return all(outcome is Outcome.OK for outcome in self.values())


def outcomes_of(answer: Sequence[Any], item_ids: Sequence[str]) -> Outcomes:
    """Read the answer of runItems: a list of `{"outcome": text, "item": {"id": …, "queue": …}}`.

    Items that are missing from it are UNKNOWN (their row was gone, contract A3), and so are outcomes that we
    have no name for (hooks may invent some, or leave one out). Items that were not sent are ignored.
    Raises ProtocolError for entries of another shape.
    """
    outcomes = Outcomes(item_ids)
    answered = set()
    unknown = Outcome.UNKNOWN
    for entry in answer:
        try:
            item_id, text = str(entry["item"]["id"]), entry.get("outcome")
        except (TypeError, KeyError, AttributeError) as error:
            raise ProtocolError(f"runItems answered something odd: {entry!r}"[:300]) from error
        if item_id not in outcomes:
            outcomes.oddities.append(f"item {item_id} was not sent, but has outcome {text!r}")
            continue
        if item_id in answered:
            outcomes.oddities.append(f"item {item_id} is answered again, with outcome {text!r}")
            continue
        answered.add(item_id)
        outcomes[item_id] = outcome = Outcome.parse(text)
        if outcome is unknown:
            outcomes.oddities.append(f"item {item_id} has unknown outcome {text!r}")
    if len(answered) < len(outcomes):
        outcomes.oddities.extend(
            f"item {item_id} is missing from the answer" for item_id in item_ids if item_id not in answered
        )
    return outcomes
