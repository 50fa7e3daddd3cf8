"""Which CiviCRM the site behaves as: one property for each difference (contract A3)."""

from __future__ import annotations

from functools import cached_property

from coworker.version import version_key

DEFAULT_VERSION = "6.13.3"


class Release:
    """A CiviCRM version such as `6.13.3` or `5.77.beta1`, and what it can do.

    Raises ValueError for a text that starts with no `major.minor`.
    """

    def __init__(self, version: str = DEFAULT_VERSION) -> None:
        numbers = version_key(version)
        if len(numbers) < 2:
            raise ValueError(
                f"{version!r} is not a CiviCRM version: expected something like {DEFAULT_VERSION}"
            )
        self.version = version
        self._number = numbers[:2]

    def at_least(self, major: int, minor: int) -> bool:
        return self._number >= (major, minor)

    @cached_property
    def has_queue_item(self) -> bool:
        """Whether there is the API entity `QueueItem`."""
        return self.at_least(6, 4)

    @cached_property
    def has_reset(self) -> bool:
        """Whether there are `Queue.reset` and the setting `core_maintenance_mode`."""
        return self.at_least(6, 0)

    @cached_property
    def has_run(self) -> bool:
        """Whether there are `Queue.run` and the setting `queue_paused`."""
        return self.at_least(5, 67)

    @cached_property
    def relinquishes(self) -> bool:
        """Whether an abort ends the batch and gives the rest back; before, the rest ran all the same."""
        return self.at_least(6, 1)

    @cached_property
    def catches_errors(self) -> bool:
        """Whether handlers catch PHP's Error; before, it escaped and left the rest of the batch leased."""
        return self.at_least(6, 2)

    @cached_property
    def selects_run_as(self) -> bool:
        """Whether `claimItems` knows `run_as`."""
        return self.at_least(5, 56)
