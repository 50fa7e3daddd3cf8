"""What unit tests may use besides."""

from support.claim_files import journal, path  # noqa: F401
