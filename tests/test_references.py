"""What comments cite is there: every rule in doc/rules.md, every fact of CiviCRM in doc/civicrm.md."""

import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for folder, pattern in (
        ("coworker", "*.py"), ("coworker", "*.php"), ("tests", "*.py"), ("tests", "*.php"), ("doc", "*.md"),
    )
    for path in (ROOT / folder).rglob(pattern)
)  # fmt: skip
# Where a label is defined: the heading of its section.
RULE_HEADING = re.compile(r"^### ((?:process |identity )?rule \d+): ", re.IGNORECASE | re.MULTILINE)
FACT_HEADING = re.compile(r"^#{2,3} ([A-Z]\d*)\. ", re.MULTILINE)

GAP = r"(?:\s+(?:(?:\#|//|\*)\s+)?)"  # a blank, or the end of a line in a docstring or a comment
BETWEEN = rf"(?:,{GAP}?|{GAP}(?:and|to){GAP})"
FACT = r"(?:[A-Z]\d+|[A-Z](?!\w))"
RULES = re.compile(
    rf"\b(?:(process|identity){GAP})?rule(?:s{GAP}(\d+(?:{BETWEEN}\d+)*)|{GAP}(\d+))\b", re.IGNORECASE
)
FACTS = re.compile(rf"\bcontract{GAP}({FACT}(?:{BETWEEN}{FACT})*)")
UNCITABLE = re.compile(
    rf"""\bdesign,{GAP}?(?:section\b|rule\b|\d)    # a document that the reader does not have
      | \bdesign:{GAP}?[a-z]
      | \bsections?{GAP}\d+{GAP}of{GAP}(?:the|our){GAP}design
      | \(sections?{GAP}\d
      | (?<![\w$(])\(?contract\)                   # which part of it?
      | \bcontract,{GAP}?[A-Z]\d
      | \bcontract{GAP}[A-Z]\d*-[A-Z]
    """,
    re.VERBOSE,
)
STRINGS = {"STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END", "COMMENT"}


def dotless(text):
    """Examples have dots in them, or they would be read as references of this file."""
    return text.replace("·", "")


DOCTORED = dotless('''
"""A whole one (ru·le 1), a wrapped one (process ru·le
2), and several (ru·les 1, 2 and 77; iden·tity ru·le 1; con·tract A1, A2).
"""
RULE = 88  # ru·le 99
text = f"con·tract Z9 {rule} con·tract B"
# Wrapped as well (con·tract A1,
# Z8), and gone: (de·sign, sec·tion 4, ru·le 1)
contract = (con·tract)  # sec·tion 3 of the de·sign (con·tract)
''')


def labels(rules, facts):
    """Every label that may be cited, and how often it is defined."""
    found = Counter(match[1].lower() for match in RULE_HEADING.finditer(rules))
    found.update(f"contract {match[1]}" for match in FACT_HEADING.finditer(facts))
    return found


def cited(text):
    """(offset, label) of every reference."""
    for match in RULES.finditer(text):
        kind = f"{match[1].lower()} rule" if match[1] else "rule"
        for number in re.findall(r"\d+", match[2] or match[3]):
            yield match.start(), f"{kind} {number}"
    for match in FACTS.finditer(text):
        for fact in re.findall(FACT, match[1]):
            yield match.start(), f"contract {fact}"


def prose(source):
    """The source with everything blank that is neither comment nor string; lines stay where they are."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    kept = [character if character == "\n" else " " for character in source]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if tokenize.tok_name[token.type] in STRINGS:
            first = starts[token.start[0] - 1] + token.start[1]
            last = starts[token.end[0] - 1] + token.end[1]
            kept[first:last] = source[first:last]
    return "".join(kept)


def dangling(text, known):
    """(line, what is wrong) of every reference that leads nowhere."""
    found = [(at, f"{label} is not defined") for at, label in cited(text) if label not in known]
    found += [(match.start(), f"not to be looked up: {match[0]}") for match in UNCITABLE.finditer(text)]
    return [(text.count("\n", 0, at) + 1, " ".join(what.split())) for at, what in sorted(found)]


@pytest.fixture(scope="module")
def known():
    return labels((ROOT / "doc/rules.md").read_text(), (ROOT / "doc/civicrm.md").read_text())


def test_every_label_is_defined_once(known):
    assert not [label for label, times in known.items() if times > 1]
    assert {"rule 1", "process rule 1", "identity rule 1", "contract A1", "contract B"} <= set(known)


@pytest.mark.parametrize("kind", ["rule", "process rule", "identity rule"])
def test_rules_are_numbered_without_a_gap(known, kind):
    numbers = [int(label.rpartition(" ")[2]) for label in known if label.rpartition(" ")[0] == kind]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_reference_leads_somewhere(known):
    assert FILES
    wrong = []
    for path in FILES:
        text = path.read_text()
        for line, what in dangling(prose(text) if path.suffix == ".py" else text, known):
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {what}")
    assert not wrong, "\n".join(wrong)


def test_a_reference_that_leads_nowhere_is_found():
    rules = "### Rule 1: a\n### Rule 2: b\n### Process rule 2: c\n### Identity rule 1: d\n"
    found = dangling(prose(DOCTORED), labels(rules, "### A1. e\n### A2. f\n## B. g\n"))
    assert found == [
        (3, dotless("ru·le 77 is not defined")),
        (5, dotless("ru·le 99 is not defined")),
        (6, dotless("con·tract Z9 is not defined")),
        (7, dotless("con·tract Z8 is not defined")),
        (8, dotless("not to be looked up: de·sign, section")),
        (9, dotless("not to be looked up: sec·tion 3 of the design")),
        (9, dotless("not to be looked up: (con·tract)")),
    ]


def test_a_reference_needs_a_rule_of_its_own_kind():
    found = dangling(
        dotless("process ru·le 7, ru·le 7, identity ru·les 7 to 9"), labels("### Rule 7: a\n", "")
    )
    assert [what for _, what in found] == [
        dotless(f"{label} is not defined")
        for label in ("process ru·le 7", "identity ru·le 7", "identity ru·le 9")
    ]


def test_words_that_only_look_like_references_are_none():
    text = "a ru·le of 7, the con·tract with CiviCRM, f(con·tract), designs, sec·tion 5 of the file"
    assert dangling(dotless(text), {}) == []
