import pytest
import torch

from imbalance_lens.observation import BatchNormState, Observation
from imbalance_lens.probes import PROBES
from imbalance_lens.report import Verdict, load_report

from .planted import report

CLASSES = 4
HEIGHT = 3.0


def says(labels, right_of_ten):
    """Return logits that pick the label for the first so many of each ten examples."""
    wrong = torch.arange(len(labels)) // CLASSES % 10 >= right_of_ten
    picked = (labels + wrong) % CLASSES
    return HEIGHT * torch.nn.functional.one_hot(picked, CLASSES).float()


def observed(parts, join=sum, examples=400):
    """Return what probes see of a model that joins its modalities' logits."""
    labels = torch.arange(examples) % CLASSES
    own = {
        name: part if torch.is_tensor(part) else part[0] * says(labels, part[1])
        for name, part in parts.items()
    }

    def coalitions(present, fill="zero"):
        return join([z if n in present else torch.zeros_like(z) for n, z in own.items()])

    return Observation(
        labels, coalitions(own), tuple(own), coalitions=coalitions, modality_logits=own
    )


def diagnosed(seen, *names, **more):
    probes = {name: PROBES.get(name)() for name in names or ("zero_out", "logit_norm")}
    for probe in probes.values():
        probe.observe(seen)
    answers = {name: probe.result() for name, probe in probes.items()}
    return report(seen.modalities, examples=len(seen.labels), **answers, **more)


def by_rule(made, rule):
    return {f.modality: f for f in made.findings if f.rule == rule}


def test_a_loud_and_able_modality_dominates_by_the_numbers_that_were_planted():
    made = diagnosed(observed({"audio": (5.0, 9), "visual": (1.0, 3)}))
    verdict = made.findings[0]
    assert (verdict.verdict, verdict.modality) == (Verdict.YES, "audio")
    assert verdict.value == pytest.approx(0.6)
    assert "alone it gets 90.0 % of the examples right, visual 30.0 %" in verdict.sentence
    assert "leaving it out costs 60.0 points, leaving out visual costs nothing" in verdict.sentence
    assert by_rule(made, "logit_scale")["audio"].value == pytest.approx(5.0)
    row = made.to_dataframe().loc["audio"]
    assert row[["alone", "left_out", "drop"]].tolist() == pytest.approx([0.9, 0.3, 0.6])
    assert row["logit_norm"] == pytest.approx(5 * HEIGHT)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c"), tuple("abcdef")])
def test_equals_are_level(names):
    made = diagnosed(observed(dict.fromkeys(names, (1.0, 8))))
    assert made.findings[0].verdict is Verdict.NO
    assert {f.verdict for f in by_rule(made, "logit_scale").values()} == {Verdict.NO}


def test_an_ignored_modality_is_unused():
    made = diagnosed(observed({"audio": (1.0, 9), "visual": (0.0, 3)}))
    found = by_rule(made, "unused_modality")
    assert found["visual"].verdict is Verdict.YES
    assert found["audio"].verdict is Verdict.NO


def test_a_product_of_modalities_cannot_be_read():
    made = diagnosed(
        observed({"audio": (1.0, 9), "visual": (1.0, 7)}, join=lambda parts: parts[0] * parts[1]),
        "zero_out",
    )
    assert set(by_rule(made, "not_identifiable")) == {"audio", "visual"}
    assert made.findings[0].verdict is Verdict.INCONCLUSIVE
    assert made.findings[0].sentence.endswith("audio and visual says alone cannot be read.")
    assert not any(r.recipe for r in made.recommendations)


def test_a_nan_is_counted_and_does_not_hide():
    seen = observed({"audio": (1.0, 9), "visual": (1.0, 3)})
    broken = seen.modality_logits["visual"].clone()
    broken[7] = torch.nan
    parts = {"audio": seen.modality_logits["audio"], "visual": broken}
    made = diagnosed(observed(parts), "zero_out")
    (found,) = by_rule(made, "nonfinite_logits").values()
    assert (found.verdict, found.value) == (Verdict.YES, 1.0)
    assert "1 with visual only" in found.sentence
    assert made.findings[0].verdict is Verdict.INCONCLUSIVE
    assert "is not known" in made.findings[0].sentence


@pytest.mark.parametrize("examples", [1, 3])
def test_a_batch_of_few_examples_decides_nothing(examples):
    made = diagnosed(observed({"audio": (5.0, 10), "visual": (1.0, 0)}, examples=examples))
    assert made.findings[0].verdict is Verdict.INCONCLUSIVE
    assert by_rule(made, "few_examples")[""].verdict is Verdict.YES
    assert made.recommendations == ()
    assert "fewer than 20: too few" in " ".join(str(made).split())


def test_dead_channels_are_found_where_they_are():
    fresh, dead = torch.ones(50), torch.zeros(50)
    none = torch.empty(0)
    layers = {
        "a.bn": BatchNormState(fresh, dead, none, none, modality="audio"),
        "v.bn": BatchNormState(dead, dead, none, none, modality="visual"),
        "v.bn2": BatchNormState(fresh, dead, none, none, modality="visual"),
    }
    seen = Observation(none, none, ("audio", "visual"), batchnorms=layers)
    probe = PROBES.get("abnormal_batchnorm")()
    probe.observe(seen)
    made = report(abnormal_batchnorm=probe.result())
    found = by_rule(made, "dead_capacity")
    assert (found["audio"].verdict, found["visual"].verdict) == (Verdict.NO, Verdict.YES)
    assert found["visual"].value == pytest.approx(0.5)
    assert [r.recipe for r in made.recommendations] == ["abri"]


def test_real_answers_survive_the_file(tmp_path):
    made = diagnosed(observed({"audio": (5.0, 9), "visual": (1.0, 3)}))
    made.save(tmp_path / "r.nc")
    loaded = load_report(tmp_path / "r.nc")
    assert loaded.findings == made.findings
    for name, group in made.tree.children.items():
        for variable, values in group.variables.items():
            assert values.identical(loaded.tree[name].variables[variable]), variable
