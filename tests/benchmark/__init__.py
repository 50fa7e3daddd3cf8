"""What the daemon costs and how fast it is, measured beside a reference in the same run.

`python -m tests.benchmark --help`, from the top of the repository. Never a part of the tests: these are
times, and times depend on the machine.
"""

import sys
from pathlib import Path

TESTS = str(Path(__file__).parent.parent)
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)  # where `support` is found, as in the tests
