"""What reports say of models that were built, or trained, to have what is looked for."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import imbalance_lens as lens
from imbalance_lens.comparison import compare_checkpoints
from imbalance_lens.probes import PROBES
from imbalance_lens.report import Report, Verdict
from imbalance_lens.testing import planted

THREE = ("audio", "text", "visual")
SIX = tuple(f"view_{i}" for i in range(6))


def by_rule(made, rule):
    return {f.modality: f for f in made.findings if f.rule == rule}


def verdicts(made, rule):
    return {name: str(f.verdict) for name, f in by_rule(made, rule).items()}


@pytest.mark.parametrize("names", [("audio", "visual"), THREE, SIX])
def test_all_default_probes_agree_on_the_planted_modality(names):
    model, loader = planted(names[-1], names, examples=200)
    made = lens.diagnose(model, loader)
    assert (made.findings[0].verdict, made.findings[0].modality) == (Verdict.YES, names[-1])
    assert "permutation and Shapley values agree" in made.findings[0].sentence
    assert verdicts(made, "no_interaction") == {"": "yes"}
    assert made.to_dataframe()["shapley"].idxmax() == names[-1]
    assert max(map(len, str(made).splitlines())) <= 80


def test_equals_are_level_for_every_probe():
    made = lens.diagnose(*planted(None, THREE, examples=200))
    assert made.findings[0].verdict is Verdict.NO


def test_a_louder_one_of_two_able_modalities_is_not_overlooked():
    """Alone both are right, and each makes up for the other; but only one is listened to."""
    model, loader = planted(None, strong=6.0)
    with torch.no_grad():
        model.audio.weight.mul_(5)
    found = lens.diagnose(model, loader).findings[0]
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert found.evidence == "permutation.drop_gap"


class Same(nn.Module):
    """Says the first class where both inputs have the same sign."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.a.weight)
        nn.init.ones_(self.b.weight)

    def forward(self, a, b):
        same = self.a(a) * self.b(b)
        return torch.cat([same, -same], 1)


def test_a_product_uses_interaction():
    a, b = (torch.randn(64, 1, generator=torch.Generator().manual_seed(k)) for k in range(2))
    labels = (a * b < 0).long().flatten()
    made = lens.diagnose(Same(), [(a, b, labels)], {"a": "a", "b": "b"}, probes=["emap"])
    found = by_rule(made, "no_interaction")[""]
    assert found.verdict is Verdict.NO
    assert found.value > 0.3


class Encoder(nn.Sequential):
    """Features behind BatchNorm and ReLU, some of them dead."""

    def __init__(self, dead):
        super().__init__(nn.Linear(4, 20), nn.BatchNorm1d(20), nn.ReLU())
        with torch.no_grad():
            self[1].weight[:dead] = 0
            self[1].bias[:dead] = 0


class Net(nn.Module):
    def __init__(self, dead):
        super().__init__()
        self.encoders = nn.ModuleDict({name: Encoder(count) for name, count in dead.items()})
        self.head = nn.Linear(20 * len(dead), 4)

    def forward(self, **inputs):
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(features, 1))


def test_dead_channels_are_found_where_they_are():
    torch.manual_seed(0)
    _, loader = planted(None, THREE, examples=128)
    made = lens.diagnose(
        Net({"audio": 0, "text": 8, "visual": 1}),
        loader,
        probes=["abnormal_batchnorm", "dead_features"],
    )
    found = by_rule(made, "dead_capacity")
    assert verdicts(made, "dead_capacity") == {"audio": "no", "text": "yes", "visual": "yes"}
    assert found["text"].value == pytest.approx(8 / 20)
    assert found["text"].evidence == "dead_features.dead_count"
    assert found["visual"].evidence == "abnormal_batchnorm.abnormal_count"
    assert "Dead or constant on the data: 8 of the 8 abnormal ones" in found["text"].sentence
    assert [(r.recipe, r.modality) for r in made.recommendations] == [
        ("abri", "text"),
        ("abri", "visual"),
    ]
    assert "The same for visual." in " ".join(str(made).split())


def test_a_head_that_ignores_good_features_makes_their_encoder_under_used():
    model, loader = planted(None, examples=200)
    with torch.no_grad():
        model.head.weight[:, 4:] = 0
    made = lens.diagnose(model, loader, train=loader, probes=["linear_probe", "zero_out"])
    assert verdicts(made, "underused_encoder") == {"audio": "no", "visual": "yes"}
    assert "The head ignores it: " in by_rule(made, "underused_encoder")["visual"].sentence
    assert verdicts(made, "unused_modality")["visual"] == "yes"
    assert made.to_dataframe().loc["visual", "linear_probe"] > 0.9


def test_logits_that_are_too_long_for_what_they_know_are_overconfident():
    model, loader = planted("audio", examples=600)
    with torch.no_grad():
        model.visual.weight.mul_(8)
    made = lens.diagnose(model, loader, probes=["calibration"])
    assert verdicts(made, "overconfident_modality")["visual"] == "yes"
    assert verdicts(made, "overconfident_modality")["audio"] == "no"


def test_a_modality_that_was_learned_by_heart_overfits():
    """Its inputs are noise, so that what training gains on them is lost on others."""
    model, _ = planted(None, classes=10, examples=40)
    train, held_out = (
        [*planted("visual", classes=10, examples=40, weak=0.0, strong=3.0, seed=seed)[1]]
        for seed in (0, 1)
    )
    before = {name: 0.05 * value for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    for _ in range(60):
        for inputs, labels in train:
            loss = cross_entropy(model(**inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    ds = compare_checkpoints(model, [before, model], train, held_out)
    found = by_rule(report_of({"ogr": ds}), "overfitting_modality")
    assert verdicts(report_of({"ogr": ds}), "overfitting_modality") == {"audio": "yes"}
    assert "audio has overfitting +" in found["audio"].sentence


def test_gradients_are_judged_as_they_were_measured():
    torch.manual_seed(0)
    model, loader = planted("audio", THREE, examples=128)
    made = lens.diagnose(model, loader, probes=["gradient_conflict"])
    ds = made.tree["gradient_conflict"]
    for name, found in by_rule(made, "conflicting_gradients").items():
        assert found.value == pytest.approx(ds["mean_cosine"].sel(modality=name).item())
        assert "over 4 batches" in found.sentence


def test_a_training_is_judged_by_its_last_quarter():
    """Of all probes that can watch it, each makes its findings out of the end of the training."""
    model, loader = planted("audio", examples=128)
    who = {"audio": "audio", "visual": "visual"}
    names = [name for name in PROBES.names() if not PROBES.get(name).looks_at_training]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with lens.Lens(model, who, probes=names) as session:
        for _ in range(5):
            for inputs, labels in loader:
                loss = cross_entropy(model(**inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                session.step(labels)
                optimizer.step()
            session.epoch()
    answers = {}
    for name in names:
        try:
            answers[name] = session.dataset(name)
        except lens.errors.NotAttachedError:  # the model has no BatchNorm layer and no ReLU
            continue
    made = report_of(answers)
    assert {"zero_out", "discrepancy", "gradient_conflict", "shapley"} <= set(answers)
    assert (made.findings[0].verdict, made.findings[0].modality) == (Verdict.YES, "audio")
    (found,) = by_rule(made, "training_lead").values()
    assert (found.verdict, found.modality) == (Verdict.YES, "audio")
    assert "in the last 5 of 20 steps" in found.sentence
    assert "over the last 5 of 20 steps" in (
        by_rule(made, "conflicting_gradients")["audio"].sentence
    )
    assert "- Judged: mean of the last 2 of 5 epochs." in str(made)


def report_of(answers):
    anatomy = {"encoders": {"audio": "audio", "visual": "visual"}}
    return Report.build(answers, model="PlantedModel", anatomy=anatomy, examples=128)
