"""Multi-Loss: the joint loss and one per head, all of the same kind and with weight 1."""

import pytest
import torch
from torch import nn

from imbalance_lens.errors import SettingError
from recipes._base import Want
from recipes._heads import UnimodalHeads
from recipes.multi_loss import MultiLoss
from recipes.none import JointTraining

from .hand_made import batch_of, run_of, same, seen_of, trained


def seen_with(joint, labels, **own):
    return seen_of({}, logits=joint, labels=labels, modality_logits=own)


def test_the_loss_is_the_sum_of_all_cross_entropies():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    by_hand = sum(
        -(z[y] - z.exp().sum().log()) / 5
        for head in logits
        for z, y in zip(head, labels, strict=True)
    )
    seen = seen_with(logits[0], labels, audio=logits[1], visual=logits[2])
    joint = nn.functional.cross_entropy(logits[0], labels)
    found = MultiLoss().on_loss(run_of(), seen, joint)
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-12)


def test_any_number_of_modalities_adds_its_losses():
    names = ["a", "b", "c", "items"]
    run = run_of(names)
    zeros = torch.zeros(2, 4)
    seen = seen_with(zeros, torch.tensor([0, 1]), **dict.fromkeys(names, zeros))
    found = MultiLoss().on_loss(run, seen, torch.tensor(0.0))
    assert found.item() == pytest.approx(4 * torch.tensor(4.0).log().item())


def test_a_unimodal_loss_reaches_its_own_encoder_and_head_only():
    run = run_of()
    inputs, labels = batch_of(run)
    features = {name: run.model.get_submodule(name)(inputs[name]) for name in run.modalities}
    assert run.heads is not None
    own = run.heads(features)
    seen = seen_with(torch.zeros(len(labels), 4), labels, audio=own["audio"])
    MultiLoss().on_loss(run, seen, torch.tensor(0.0)).backward()
    reached = {n for n, p in run.model.named_parameters() if p.grad is not None}
    assert reached == {"audio.weight", "audio.bias"}
    assert all(p.grad is not None for p in run.heads["audio"].parameters())
    assert all(p.grad is None for p in run.heads["visual"].parameters())


def test_the_heads_learn_by_the_loss_of_the_model():
    run = run_of(loss=nn.functional.binary_cross_entropy_with_logits)
    labels = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    zeros = torch.zeros(1, 4)
    seen = seen_with(zeros, labels, audio=zeros, visual=zeros)
    found = MultiLoss().on_loss(run, seen, run.loss(zeros, labels))
    assert found.item() == pytest.approx(3 * torch.tensor(2.0).log().item())


def test_numbers_to_predict_may_have_no_dimension_of_their_own():
    run = run_of(loss=nn.functional.mse_loss, regression=True)
    labels, joint = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])
    seen = seen_with(joint, labels, audio=torch.tensor([[2.0], [3.0]]), visual=joint[:, None])
    assert MultiLoss().on_loss(run, seen, run.loss(joint, labels)).item() == 1.0


def test_a_head_of_another_width_is_refused():
    seen = seen_with(torch.zeros(2, 4), torch.tensor([0, 1]), audio=torch.zeros(2, 3))
    complaint = r"The head of 'audio' gives \(2, 3\) for a batch of which the model gives \(2, 4\)"
    with pytest.raises(SettingError, match=complaint):
        MultiLoss().on_loss(run_of(), seen, torch.tensor(0.0))


def test_encoders_learn_otherwise_than_from_the_joint_loss_alone():
    assert not same(trained(MultiLoss()), trained(JointTraining()))
    assert same(trained(MultiLoss()), trained(MultiLoss()))


def test_heads_that_read_nothing_leave_the_model_as_it_is():
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(4))

        def forward(self, features):
            return self.bias.expand(len(features), -1)

    run, plain = run_of(heads=UnimodalHeads({n: Silent() for n in ("audio", "visual")})), run_of()
    for recipe, where in ((MultiLoss(), run), (JointTraining(), plain)):
        inputs, labels = batch_of(where)
        logits = where.model(**inputs)
        own = where.heads({n: where.model.get_submodule(n)(inputs[n]) for n in where.modalities})
        recipe.on_loss(
            where, seen_with(logits, labels, **own), where.loss(logits, labels)
        ).backward()
    pairs = zip(run.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


def test_it_asks_for_heads():
    assert MultiLoss().wants() == {Want.HEADS}
