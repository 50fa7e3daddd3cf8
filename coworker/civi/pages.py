"""Pages of HTML among what a pipe has printed: the log has what they say, not how they look."""

from __future__ import annotations

import re
from html import unescape

LONGEST = 300  # characters of what a page says
_PAGE = re.compile(r"(?is)<(?:!doctype html|html)\b.*?(?:</html\s*>|\Z)")
_TITLE = re.compile(r"(?is)<title\b[^>]*>(.*?)</title")
_UNSEEN = re.compile(r"(?is)<(style|script|head|title)\b.*?(?:</\1\s*>|\Z)")
_SENTENCE = re.compile(r".*?[.!?](?=\s|\Z)")


def told_briefly(text: str) -> str:
    """Return the text with each page in it replaced by its title and first sentence, the same ones once."""
    told = set()

    def brief(page: re.Match[str]) -> str:
        gist = _gist(page[0])
        is_new = gist not in told
        told.add(gist)
        return gist if is_new else ""

    return _PAGE.sub(brief, text)


def _gist(page: str) -> str:
    title = _TITLE.search(page)
    body = _words(_UNSEEN.sub(" ", page))
    sentence = _SENTENCE.match(body)
    parts = [_words(title[1]) if title else "", sentence[0] if sentence else body]
    return ": ".join(filter(None, dict.fromkeys(parts)))[:LONGEST]


def _words(html: str) -> str:
    return " ".join(unescape(re.sub(r"(?s)<[^>]*>", " ", html)).split())
