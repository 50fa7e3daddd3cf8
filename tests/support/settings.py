"""Settings files for daemons under test, with waits short enough for a test."""

QUICK = {"poll_interval": 0.05}
COUNT = 2


def settings(*sites, log=None, **workers):
    """The TOML of these site tables, with [workers]; `log` holds more lines for [log] (it comes first)."""
    lines = [*_lines(log or {}), "[workers]", *_lines({"count": COUNT, **workers})]
    return "\n".join([*lines, *sites, ""])


def site_table(pipe, name="example", workers=None, **values):
    """A [sites.NAME] table; `pipe` is a command, or a Site whose command is meant."""
    command = pipe if isinstance(pipe, str) else pipe.command()
    lines = [f'[sites."{name}"]', f"pipe = '''{command}'''", *_lines({**QUICK, **values})]
    if workers is not None:
        lines += [f'[sites."{name}".workers]', *_lines(workers)]
    return "\n".join(lines)


def _lines(values):
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)
