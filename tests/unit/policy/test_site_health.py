"""Which sites are left alone although they answer, and which processes are older than the database."""

import pytest

from coworker.policy.site_health import Observed, holds, is_stale

FINE = Observed("Production", False, "6.13.3", "6.13.3")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (FINE, []),
        (Observed(None, None, None, None), []),
        (FINE._replace(environment="Staging"), ["environment is Staging, not Production"]),
        (FINE._replace(maintenance=True), ["maintenance mode"]),
        (FINE._replace(database="6.12.0"), ["its code is 6.13.3, its database 6.12.0"]),
        (FINE._replace(code=None, database="6.12.0"), []),
        (FINE._replace(environment="Staging", maintenance=True), ["Staging", "maintenance"]),
    ],
)
def test_reasons_to_claim_nothing(seen, says):
    found = holds(seen, allow_non_production=False)
    assert len(found) == len(says)
    assert all(text in hold.reason for text, hold in zip(says, found, strict=True))
    allowed = holds(seen, allow_non_production=True)
    assert len(allowed) == len([text for text in says if "Staging" not in text])


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.4.alpha1", "6.4.beta1"),
        ("6.4.beta1", "6.4.0"),
        ("6.4.0", "6.4.1"),
        ("6.9.0", "6.10.0"),
        ("5.77.0", "6.0.0"),
    ],
)
def test_a_database_that_is_newer_than_the_code_that_runs(older, newer):
    assert is_stale(FINE._replace(code=older, database=newer))
    assert not is_stale(FINE._replace(code=newer, database=older))
    assert not is_stale(FINE._replace(code=newer, database=newer))
