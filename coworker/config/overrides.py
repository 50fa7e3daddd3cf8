"""The environment and `-d KEY=VALUE`: text, by the same names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from coworker.config.draft import Draft, Given, Origin, Problem, nearest
from coworker.config.table import BY_NAME, PLURALS, Key, dotted, env_name, find
from coworker.errors import ConfigError

_PART = re.compile(r"""(?:"((?:\\.|[^"\\])*)"|'([^']*)'|([^."']+))(\.|$)""")
_KEY_AND_VALUE = re.compile(r"""((?:"(?:\\.|[^"\\])*"|'[^']*'|[^="'])+)=(.*)""", re.DOTALL)

_ENVIRONMENT, _COMMAND_LINE = 1_000_000, 1_000_001  # ranks of origins, behind all files


def split_override(text: str) -> tuple[str, str]:
    """Split `KEY=VALUE` of the command line into (key, value). Raises ConfigError."""
    match = _KEY_AND_VALUE.fullmatch(text)
    if not match:
        raise ConfigError(str(Problem(Origin(0, 0, f"-d {text}"), "must be KEY=VALUE")))
    return match[1].strip(), match[2]


def read_command_line(overrides: Sequence[tuple[str, str]], draft: Draft) -> dict[Key, Given]:
    """Read the values of -d. The sites and patterns that they make are put into the draft at once."""
    values: dict[Key, Given] = {}
    patterns: dict[Key, Origin] = {}
    for name, value in overrides:
        origin = Origin(_COMMAND_LINE, 0, f"-d {name}={value}")
        key = _override_key(name)
        if (setting := find(key)) and setting.secret:
            origin = origin._replace(text=f"-d {name}=…")
        if not key or not setting:
            draft.problems.append(Problem(origin, f"unknown setting{_hint(key)}"))
            if key[:1] == ("sites",):
                draft.doubtful.add(key[:2])
            continue
        if key[0] == "sites":
            draft.tables.setdefault(key[:2], origin)
        if len(key) == 5 and key[:4] not in draft.tables:
            patterns[key[:4]] = origin
        key = _long_form(key)
        values[key] = Given(key, value, origin, is_text=True)
    # The first match wins, and the command line goes before the file.
    draft.tables = {**patterns, **draft.tables}
    return values


def read_environment(environ: Mapping[str, str], draft: Draft) -> None:
    """Put the values of COWORKER_… into the draft. Unknown variables are left alone; empty means unset."""
    names: dict[str, list[Key]] = {}
    for key in _possible_keys(draft):
        names.setdefault(env_name(key), []).append(key)
    for name, keys in names.items():
        if not environ.get(name):
            continue
        origin = Origin(_ENVIRONMENT, 0, f"environment {name}")
        if len(keys) > 1:
            which = " or ".join(dotted(key) for key in keys)
            draft.problems.append(Problem(origin, f"may mean {which}: use -d"))
            continue
        key = _long_form(keys[0])
        draft.values[key] = Given(key, environ[name], origin, is_text=True)


def _long_form(key: Key) -> Key:
    return (*key, "count") if len(key) == 3 and key[2] == "workers" else key


def _possible_keys(draft: Draft) -> Iterable[Key]:
    for setting in BY_NAME.values():
        first, *rest = setting.name.split(".")
        if first != "sites":
            yield (first, *rest)
        for site in draft.sites:
            if first == "workers":
                yield ("sites", site, first, *rest)
            elif first == "sites" and len(rest) == 2:
                yield ("sites", site, rest[1])
            elif first == "sites":
                names = draft.patterns(site) if rest[1] == "queues" else draft.domains(site)
                yield from (("sites", site, rest[1], name, rest[3]) for name in names)


def _override_key(name: str) -> Key:
    """Return the key of a dotted name; () when it is none.

    A shell takes the quotes away, so that the dots of a site's name or of a pattern often come bare:
    the parts that are known by their place are found first, and the name is what is left.
    """
    parts: list[str] = []
    position = 0
    while position < len(name):
        match = _PART.match(name, position)
        if not match:
            return ()
        parts.append(next(group for group in match.groups() if group is not None))
        position = match.end()
    if len(parts) == 1:
        return ("coworker", parts[0])
    if parts[:1] != ["sites"]:
        return tuple(parts)
    for plural in PLURALS:
        if plural in parts[2:-2]:
            at = parts.index(plural, 2)
            return ("sites", ".".join(parts[1:at]), plural, ".".join(parts[at + 1 : -1]), parts[-1])
    tail = 2 if len(parts) > 3 and parts[-2] == "workers" else 1
    return ("sites", ".".join(parts[1:-tail]), *parts[-tail:])


def _hint(key: Key) -> str:
    if not key:
        return ""
    known = [name.replace("NAME", key[1]) if key[0] == "sites" else name for name in BY_NAME]
    if key[0] == "sites":
        known += [f"sites.{key[1].split('.')[0]}.{name}" for name in BY_NAME if name.startswith("workers.")]
    found = nearest(".".join(key), known) or nearest(key[-1], BY_NAME)
    return f', did you mean "{found.removeprefix("coworker.")}"?' if found else ""
