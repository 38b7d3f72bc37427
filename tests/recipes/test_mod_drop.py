"""ModDrop at work: fixed probabilities, examples as a whole, modalities by themselves."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import recipes
from imbalance_lens.errors import SettingError, UnknownNameError
from recipes.mod_drop import ModDrop, chosen
from recipes.none import JointTraining

from .hand_made import run_of, same, step, trained
from .trainings import AudioVisual, Gated, loader_of, model_of
from .trainings import trained as fitted

MANY = 20_000


def dropped_of(recipe, run, name, size=MANY):
    """Which examples lose a modality, told by features of ones."""
    kept = recipe.on_features(run, name, torch.ones(size, 2))
    assert torch.equal(kept[:, 0], kept[:, 1])  # an example is dropped as a whole
    assert set(kept.unique().tolist()) <= {0.0, 1.0}  # and nothing is rescaled
    return kept[:, 0] == 0


def begun(recipe, run, size=MANY):
    recipe.on_batch(run, None, torch.zeros(size, dtype=torch.int64))
    return recipe


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_the_share_of_dropped_examples_is_the_probability(p):
    torch.manual_seed(0)
    run = run_of()
    recipe = begun(ModDrop(p=p), run)
    shares = [dropped_of(recipe, run, name).float().mean().item() for name in run.modalities]
    assert shares == pytest.approx([p, p], abs=5 * (p * (1 - p) / MANY) ** 0.5)


def test_modalities_are_dropped_independently_so_that_some_examples_lose_all():
    torch.manual_seed(0)
    run = run_of()
    recipe = begun(ModDrop(p=0.5), run)
    one, other = (dropped_of(recipe, run, name) for name in run.modalities)
    assert (one & other).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_a_modality_s_tensors_lose_the_same_examples_and_each_batch_draws_anew():
    torch.manual_seed(0)
    run = run_of()
    recipe = begun(ModDrop(p=0.5), run)
    first = dropped_of(recipe, run, "audio")
    assert torch.equal(dropped_of(recipe, run, "audio"), first)
    assert not torch.equal(dropped_of(begun(recipe, run), run, "audio"), first)


def test_probabilities_of_their_own_leave_the_others_alone():
    run = run_of()
    recipe = begun(ModDrop(p={"audio": 1.0}), run)
    recipe.on_fit_start(run)
    assert dropped_of(recipe, run, "audio").all()
    untouched = torch.ones(MANY, 2)
    assert recipe.on_features(run, "visual", untouched) is untouched


def test_a_probability_of_0_is_bitwise_plain_training_random_state_included():
    assert same(trained(ModDrop(p=0.0)), trained(JointTraining()))


def test_an_encoder_that_is_always_dropped_learns_nothing():
    before = {name: value.clone() for name, value in model_of().state_dict().items()}
    after = fitted("mod_drop", AudioVisual, p={"audio": 1.0})
    assert torch.equal(after["audio.0.weight"], before["audio.0.weight"])
    assert not torch.equal(after["visual.0.weight"], before["visual.0.weight"])


def test_all_features_are_there_in_evaluation():
    fit = recipes.apply("mod_drop", model_of(), loader_of(), epochs=1, p=1.0, seed=0, device="cpu")
    inputs = next(iter(loader_of()))[:2]
    model = fit.model.eval()
    assert not torch.equal(model(*inputs), model(*map(torch.zeros_like, inputs)))


def test_it_works_where_the_modalities_multiply():
    after = fitted("mod_drop", Gated, p=0.5)
    assert all(value.isfinite().all() for value in after.values())


def test_features_that_are_no_numbers_with_a_point_stay():
    run = run_of()
    indices = torch.ones(4, 2, dtype=torch.int64)
    assert begun(ModDrop(p=1.0), run, 4).on_features(run, "audio", indices) is indices


def test_the_draw_follows_the_random_state():
    torch.manual_seed(3)
    one = chosen(10, 0.5)
    assert not torch.equal(chosen(10, 0.5), one)
    torch.manual_seed(3)
    assert torch.equal(chosen(10, 0.5), one)


def test_a_step_reads_no_number():
    with FakeTensorMode():
        run, recipe = run_of(), ModDrop(p=0.5)
        step(recipe, run, torch.optim.SGD(run.model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("p", "complaint"),
    [
        (-0.1, "p must be 0 or more; got -0.1"),
        (1.5, "p must lie from 0 to 1; got 1.5"),
        ({"audio": 2}, r"p\['audio'\] must lie from 0 to 1; got 2"),
        ("half", "p must be 0 or more; got 'half'"),
    ],
)
def test_probabilities_that_are_none_are_refused(p, complaint):
    with pytest.raises(SettingError, match=complaint):
        ModDrop(p=p)


def test_a_modality_that_is_not_there_is_refused():
    with pytest.raises((SettingError, UnknownNameError), match="smell"):
        ModDrop(p={"smell": 0.5}).on_fit_start(run_of())
