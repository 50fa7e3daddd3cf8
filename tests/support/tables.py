"""Settings of several sites for a daemon under test, as TOML, with waits short enough for a test."""

QUICK = {"poll_interval": 0.05, "poll_interval_max": 0.05}  # not stretched on a busy machine


def settings(*sites, log=None, **workers):
    """These site tables and [workers]; `log` is for [log], which Daemon.configure has begun."""
    return "\n".join([*_lines(log or {}), table("workers", {"count": 2, **workers}), *sites])


def site_table(pipe, name="example", workers=None, **values):
    """[sites.NAME]; `pipe` is a command, or a Site whose command is meant; None: there is none."""
    command = {} if pipe is None else {"pipe": pipe if isinstance(pipe, str) else pipe.command()}
    mine = table(f'sites."{name}"', {**command, **QUICK, **values})
    return mine if workers is None else f"{mine}\n" + table(f'sites."{name}".workers', workers)


def table(name, values):
    """One TOML table."""
    return "\n".join([f"[{name}]", *_lines(values), ""])


def _lines(values):
    return [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]


def _value(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f"'''{value}'''" if isinstance(value, str) else str(value)
