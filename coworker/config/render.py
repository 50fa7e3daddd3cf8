"""conf/coworker.toml and doc/config.md, made from the table of settings.

`python -m coworker.config.render --write [DIRECTORY]` writes both below the directory (default: here).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import wrap

from coworker.config.check import allowed, show
from coworker.config.table import SECTIONS, SETTINGS, Setting, env_name

_SAMPLE_HEAD = """\
# Settings of coworker. Each is shown with its default (or, where it has none, an example), behind a "#":
# take that away to change it.
# Check the file with: coworker check -c FILE
# Everything about settings: doc/config.md
"""

_SAMPLE_SITE = """\
# This site needs no CiviCRM: it is the built-in Python site, with a queue store of its own.
# For CiviCRM write for example: pipe = "cv pipe vtl", and the site's directory as cwd.
pipe = "coworker pipe --store sqlite:///coworker-example.db"
"""

_SAMPLE_QUEUE = "import/*"

_INTRODUCTION = """\
# Settings

This page is made from the same table as the program's own checks; `conf/coworker.toml` shows all of
it as a file to start from. `coworker check -c FILE` says OK, or lists every mistake with file and
line and exits with 78.

## Where settings come from

The strongest first:

1. the command line: `-d KEY=VALUE`
2. the environment: `COWORKER_…`
3. the files: `-c FILE`, else `/etc/coworker.toml`
4. the default

For the workers of a site, what is given for the site (`sites.NAME.workers.count`) beats what is
given for all (`workers.count`), wherever each comes from.

### Files

After a file `X.toml` all of `X.d/*.toml` are read in the order of their names: after
`/etc/coworker.toml`, for example, `/etc/coworker.d/10-shop.toml`. A key of a later file replaces
the same key of an earlier one. A table `[sites.NAME]`, however, stands in one file only.

### Environment

The name of a variable is the setting's name in upper case, with an underscore for each dot and for
whatever is not a letter or digit, behind `COWORKER_`. The section `coworker` is left out. So
`COWORKER_LOG_LEVEL`, `COWORKER_GRACEFUL_TIMEOUT`, and `COWORKER_SITES_EXAMPLE_PIPE` for a site that
a file or `-d` names. An empty variable counts as not set; other variables with this prefix are
ignored.

### Command line

`-d KEY=VALUE` takes the dotted name: `-d log.level=debug`, `-d sites.example.workers.count=4`,
`-d 'sites.example.queues."import/*".weight=3'`. In section `coworker` the section may be left out:
`-d graceful_timeout=5`. It can also make a site (`-d sites.example.pipe='cv pipe vtl'`) or a queue
pattern, which then goes before those of the file.

## Without a file

`coworker run --pipe=…` reads no file, unless `-c` names one; then its site, `main`, is added to those
of the file. `--cwd` is where its pipe is started. Such a run has a run_dir and a state_dir of its own,
named after the usual ones with a code made of the current directory, the pipe and its cwd
(`/tmp/coworker-1000-1a2b3c4d`). So two of them run side by side, but not twice the same. Directories
that a run has made are removed at its end if they are empty.

## Values

* Numbers, `true` and `false` stand without quotes in a file, text in quotes. In the environment and
  behind `-d`, true may also be `yes` or `1`, false `no` or `0`. Times are plain seconds.
* In text, `${NAME}` is replaced by the environment variable NAME, and it is a mistake if that is
  not set. `$${` stands for `${`; a `$` without `{` stays as it is. Only in `pipe` nothing is
  replaced: it is a shell line, and the shell that runs it puts in `$NAME` and `${NAME}` itself. So
  a secret that is given to the daemon in its environment stands in no file and in no log.
* In paths, `~` is the home directory. A relative path starts at the directory of the file it stands
  in; from the environment or `-d`, at the current directory.

## What a reload does

HUP reads and checks everything anew; with any mistake the old settings stay.
Of each setting is said below when a change counts: *at once*; with *new workers*, which replace the
old ones one by one; or *restart needed*: the old value stays until then.
"""


def files() -> dict[str, str]:
    """Return the generated files: path within the repository, and text."""
    return {"conf/coworker.toml": sample(), "doc/config.md": reference()}


def sample() -> str:
    """Return the text of conf/coworker.toml: everything commented out but one site that works anywhere."""
    parts = [_SAMPLE_HEAD]
    for section, text in SECTIONS.items():
        header = f"[{section}]".replace("NAME", "example").replace("PATTERN", f'"{_SAMPLE_QUEUE}"')
        header = header.replace("NUMBER", "2")
        if section.endswith(("PATTERN", "NUMBER")):
            header = f"#{header}"
        parts.append(f"\n{_comment(text)}{header}\n")
        for setting in SETTINGS:
            if setting.section != section:
                continue
            if setting.name == "sites.NAME.pipe":
                parts.append(f"\n{_comment(setting.help)}{_SAMPLE_SITE}")
            else:
                parts.append(f"\n{_comment(_described(setting))}#{setting.field} = {_shown(setting)}\n")
    return "".join(parts)


def reference() -> str:
    """Return the text of doc/config.md."""
    parts = [_INTRODUCTION]
    for section, text in SECTIONS.items():
        heading = section.replace("PATTERN", '"PATTERN"')
        parts.append(f"\n## `[{heading}]`\n\n{text}\n")
        parts += [
            f"\n### `{heading}.{setting.field}`\n\n{setting.help}\n\n{_facts(setting)}"
            for setting in SETTINGS
            if setting.section == section
        ]
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in wrap(text, 100))


def _described(setting: Setting) -> str:
    unit = f" In {setting.unit}." if setting.unit else ""
    choices = f" One of {allowed(setting)}." if setting.choices else ""
    fallback = f" Default: {setting.fallback}." if setting.fallback else ""
    return f"{setting.help}{choices}{unit}{fallback}"


def _shown(setting: Setting) -> str:
    return show(setting.example if setting.default is None else setting.default)


def _facts(setting: Setting) -> str:
    """Return the list below a setting's help."""
    kind = setting.kind.value if not setting.choices else "one of " + allowed(setting)
    default = "none, it must be given" if setting.required else setting.fallback
    if setting.default is not None:
        default = f"`{_shown(setting)}`"
    else:
        default = re.sub(r"[$/][^\s;]+|\[\w+\]", r"`\g<0>`", default)
    facts = {
        "Type": f"{kind}, {setting.unit}" if setting.unit else kind,
        "Default": default,
        "Range": "" if setting.choices else allowed(setting),
        "Environment": f"`{env_name(tuple(setting.name.split('.')))}`",
        "Reload": setting.reload.value,
    }
    return "".join(f"* {name}: {fact}\n" for name, fact in facts.items() if fact)


def main(arguments: list[str]) -> int:
    """Write the files, or say which differ (exit status 1)."""
    write = "--write" in arguments
    directory = Path(next((each for each in arguments if not each.startswith("-")), "."))
    differing = []
    for name, text in files().items():
        path = directory / name
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            differing.append(name)
            print(f"{name} is out of date: python -m coworker.config.render --write", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
