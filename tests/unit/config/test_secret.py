"""Credentials: what is taken from a file, and that nothing of them is shown."""

import pytest
from support.config_files import problems, writer

from coworker.config.secret import masked, read_secret


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


@pytest.mark.parametrize(
    "text", ["SECRET", "SECRET\n", "\ufeffSECRET\r\n", " SECRET \n\n# a remark", "SECRET\rmore"]
)
def test_marks_blanks_and_line_ends_around_a_credential_are_no_part_of_it(write, text):
    assert read_secret(write(text, "token")) == "SECRET"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is missing: the file is empty"),
        ("\ufeff\n", "is missing: the file is empty"),
        (b"\xff\xfeS\0", "cannot be read: it is not text"),
        ("SEC\x00RET", "cannot be used: its character 4 is U+0000"),
        ("SECRET\u200b", "cannot be used: its character 7 is U+200B"),
        ("“SECRET”", "cannot be used: its character 1 is U+201C"),
    ],
)
def test_what_no_header_can_carry_is_refused_and_the_file_is_named(write, text, says):
    path = write(text, "token")
    with pytest.raises(ValueError, match="the credential in ") as caught:
        read_secret(path)
    assert str(caught.value) == f"the credential in {path} {says}"


def test_a_credential_in_the_settings_is_checked_as_well(write):
    web = '[sites.a]\nweb = "https://a.example/civicrm/ajax/api4/{entity}/{action}'
    assert problems(write(f'{web}"\nweb_token = "SEC\\u200bRET"\n')) == [
        "c.toml:3: sites.a.web_token: the credential cannot be used: its character 4 is U+200B"
    ]
    assert problems(write(f'{web}?token=SEC%07RET"\n')) == [
        "c.toml:2: sites.a.web: the credential cannot be used: its character 4 is U+0007"
    ]


@pytest.mark.parametrize("host", ["u:SECRET@a:b", "u:SECRET@\u2100.example", "[SECRET"])
def test_an_address_that_is_none_is_not_shown(write, host):
    (problem,) = problems(write(f'[sites.a]\nweb = "https://{host}/{{entity}}/{{action}}?token=SECRET"\n'))
    assert "is no URL" in problem
    assert "SECRET" not in problem


def test_a_secret_is_masked_however_it_is_written():
    secret = "SEC\x00RÉT"
    for text in (secret, repr(secret), repr(secret.encode()), repr(f"Bearer {secret}".encode())):
        assert "SEC" not in masked(f"Illegal header value {text}", [secret])
    assert masked("a web page", ["", "web"]) == "a web page"
