"""Of equal modalities a finding always speaks of the same one, in whatever order they are told."""

import re
from itertools import permutations

import pytest

from .planted import logit_norm, report, zero_out
from .planted_more import discrepancy, emap

EQUAL = {
    "nobody leads": lambda names: {"zero_out": equal(names, width=0.1)},
    "several lead one": lambda names: {"zero_out": equal(names, c=0.2)},
    "one unsure of two": lambda names: {"zero_out": equal(names, a=0.9, confidence=FLAT)},
    "no interaction": lambda names: {"emap": emap(dict.fromkeys(names, 0.0))},
    "interaction": lambda names: {"emap": emap(dict.fromkeys(names, 0.2))},
    "lengths": lambda names: {
        "logit_norm": logit_norm({n: 9.0 if n in "ab" else 1 for n in names})
    },
    "training": lambda names: {
        "discrepancy": discrepancy({n: [0.9 if n in "ab" else 0.1] * 8 for n in names})
    },
}
ALL = re.compile("[abc], [abc] and [abc]")
"""A list of all of them, which follows the user's order."""

FLAT = {"a": 0.5, "b": 0.5, "c": 0.5}


def equal(names, *, width=0.02, confidence=None, **better):
    alone = {name: better.get(name, 0.5) for name in names}
    drop = {name: 0.2 + better.get(name, 0.0) - better.get(name, 0.0) / 2 for name in names}
    sure = None if confidence is None else {name: confidence[name] for name in names}
    return zero_out(alone, drop, width=width, confidence=sure)


@pytest.mark.parametrize("case", EQUAL)
def test_the_order_of_equal_modalities_changes_no_sentence(case) -> None:
    told = set()
    for names in permutations("abc"):
        found = report(names, **EQUAL[case](names)).findings
        told.add(tuple(sorted((f.rule, f.modality, ALL.sub("all", f.sentence)) for f in found)))
    assert len(told) == 1
    assert any(rule not in ("few_examples", "note") for rule, *_ in told.pop())
