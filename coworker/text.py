"""Text from outside, made fit to be shown: in a title, a line of the log, on a terminal, in a message.

A site, its tasks, a settings file or the environment may contain any character. What a terminal, a file or
a system call would take for an order, or refuse (NUL, ESC, marks that turn the writing round, halves of
surrogate pairs), is written as an escape, as Python writes it.
"""

from __future__ import annotations

MOST = 32 * 1024  # characters; 8 KiB of a pipe's output are at most as many when all are escaped
_KEPT = "\n\t\u00a0\u202f"  # what str.isprintable refuses and nobody minds


def printable(text: str, most: int = MOST) -> str:
    """Return the text with nothing but what can be shown in it, of `most` characters at most.

    Line ends and tabs stay. Of what is too long the middle is left out.
    """
    text = _shortened(text, most)
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return _shortened("".join(c if c.isprintable() or c in _KEPT else ascii(c)[1:-1] for c in text), most)


def one_line(text: str, most: int = MOST) -> str:
    """Return what `printable` does on one line, with " | " where a line ended."""
    text = printable(text, most)
    if "\n" not in text and "\t" not in text:
        return text
    return _shortened(" | ".join(part.strip() for part in text.expandtabs(1).splitlines()), most)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"
