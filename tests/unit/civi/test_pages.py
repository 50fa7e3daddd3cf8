"""What the log has of a page."""

import pytest

from coworker.civi.pages import LONGEST, told_briefly

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Site &amp; Error</title><style>html { color: red }</style></head>
<body id="error-page"><p>There has been a <b>critical</b> error on this website.</p><p>Learn more. </p></body>
</html>"""
GIST = "Site & Error: There has been a critical error on this website."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PHP Notice: 1 < 2 in a.php", "PHP Notice: 1 < 2 in a.php"),
        (PAGE, GIST),
        (f"before\n{PAGE}\nafter", f"before\n{GIST}\nafter"),
        (f"{PAGE}|{PAGE}", f"{GIST}|"),
        (PAGE.replace("error on", "failure of"), GIST.replace("error on", "failure of")),
        ("<html><body>cut off", "cut off"),
        ("<html><head><style>body {", ""),
        ("<HTML><title>Gone</title>Gone</HTML>", "Gone"),
        (f"<html>{'word ' * 100}</html>", ("word " * 100)[:LONGEST]),
    ],
)
def test_a_page_is_told_briefly(text, told):
    assert told_briefly(text) == told
