"""OPM at work: masks per example, and nothing where nobody is ahead."""

import math

import pytest
import torch

from imbalance_lens.errors import NotApplicableError, SettingError
from recipes._base import Want
from recipes.none import JointTraining
from recipes.opm import DROP_PROBABILITY, Opm, drop, drop_probability
from tests.golden import NUMBERS

from .hand_made import backward, batch_of, numbers, run_of, same, scores_of, seen_of, trained

GOLDEN = NUMBERS["opm"]
AHEAD = scores_of(audio=3.0, visual=2.0)  # the ratios of the card: 1.5 and 2/3
EQUAL = scores_of(audio=3.0, visual=3.0)


def started(recipe, run, scores, size=2):
    """The recipe in front of the features of a training pass."""
    recipe.on_batch(run, None, torch.zeros(size, dtype=torch.int64))
    run.scores = scores
    return recipe


@pytest.mark.parametrize(("scale", "whose"), [("none", "paper"), ("theta", "code")])
def test_dropped_features_are_the_golden_ones(scale, whose):
    run = run_of()
    recipe = started(Opm(scale=scale), run, AHEAD)
    run.features = {
        "audio": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "visual": torch.tensor([[5.0, 6.0], [7.0, 8.0]]),
    }
    recipe._begin(run, torch.device("cpu"))
    kept = torch.tensor(GOLDEN["mask[m,b]"]).bool()
    recipe._masks = {"audio": ~kept[0], "visual": ~kept[1]}
    found = {name: recipe.on_features(run, name, run.features[name]) for name in run.features}
    torch.testing.assert_close(
        found["audio"], torch.tensor(GOLDEN[f"{whose}: phi1"]), rtol=1e-5, atol=1e-5
    )
    visual = GOLDEN.get(f"{whose}: phi2", run.features["visual"].tolist())
    torch.testing.assert_close(found["visual"], torch.tensor(visual), rtol=1e-5, atol=1e-5)


def test_a_silent_modality_gives_a_finite_probability_and_nan_is_not_hidden():
    run = run_of()
    recipe = started(Opm(), run, scores_of(audio=5.0, visual=0.0))
    recipe.on_features(run, "audio", torch.ones(2, 4))
    assert numbers(recipe._effective) == [0.75, 0.0]
    assert drop_probability({"a": torch.tensor(math.nan)}, 0.5, 0.5)["a"].isnan()
    run.micro_step += 1
    started(recipe, run, scores_of(audio=math.nan, visual=1.0))
    broken = torch.full((2, 4), math.nan)
    assert recipe.on_features(run, "audio", broken).isnan().all()


def test_the_share_of_dropped_examples_is_the_probability():
    run = run_of()
    started(recipe := Opm(), run, AHEAD, size=20_000)
    kept = recipe.on_features(run, "audio", torch.ones(20_000, 2))
    assert torch.equal(kept[:, 0], kept[:, 1])  # an example is dropped as a whole
    dropped = (kept == 0).float().mean().item()
    assert dropped == pytest.approx(0.615529, abs=4 * (0.25 / 20_000) ** 0.5)
    assert torch.equal(
        recipe.on_features(run, "visual", torch.ones(20_000, 2)), torch.ones(20_000, 2)
    )


def test_modalities_are_dropped_independently_and_anew_in_every_pass():
    run = run_of(["a", "b", "c"])
    started(recipe := Opm(), run, scores_of(a=9.0, b=9.0, c=1.0), size=500)
    whole = torch.ones(500, 1)
    first, other = (recipe.on_features(run, name, whole) for name in "ab")
    together = ((first == 0) & (other == 0)).float().mean().item()
    apart = (first == 0).float().mean().item() * (other == 0).float().mean().item()
    assert together == pytest.approx(apart, abs=0.08)
    run.micro_step += 1
    assert not torch.equal(recipe.on_features(run, "a", whole), first)


def test_all_tensors_of_a_modality_lose_the_same_examples():
    run = run_of()
    started(recipe := Opm(), run, AHEAD, size=64)
    pooled = recipe.on_features(run, "audio", torch.ones(64, 3))
    tokens = recipe.on_features(run, "audio", torch.ones(64, 5, 3))
    frames = recipe.on_features(run, "audio", torch.ones(64 * 4, 3, 2, 2))
    lost = pooled[:, 0] == 0
    assert 0 < lost.sum() < 64
    assert torch.equal((tokens == 0).all(2).all(1), lost)
    assert torch.equal((tokens == 0).any(2).any(1), lost)
    assert torch.equal((frames.view(64, 4, -1) == 0).all(2).all(1), lost)
    assert torch.equal((frames.view(64, 4, -1) == 0).any(2).any(1), lost)


def test_a_recurrent_encoder_loses_examples_in_its_sequence_and_in_its_last_state():
    run = run_of()
    started(recipe := Opm(), run, AHEAD, size=16)
    for steps in (5, 32):  # 32 could be two frames of 16 examples
        output, (state, cell) = torch.nn.LSTM(3, 4)(torch.ones(steps, 16, 3))
        found = [recipe.on_features(run, "audio", tensor) for tensor in (output, state, cell)]
        lost = recipe._masks["audio"]
        assert 0 < lost.sum() < 16
        for kept, whole in zip(found, (output, state, cell), strict=True):
            assert not kept[:, lost].any()
            assert torch.equal(kept[:, ~lost], whole[:, ~lost])


def test_whole_numbers_among_the_features_pass_through():
    run = run_of()
    started(recipe := Opm(q_base=1.0), run, AHEAD)
    mask = torch.ones(2, 5, dtype=torch.int64)
    assert recipe.on_features(run, "audio", mask) is mask
    assert not recipe.on_features(run, "audio", torch.ones(2, 5)).any()


@pytest.mark.parametrize("shape", [(3, 4), (1, 2), (3, 3, 2), ()])
def test_features_that_do_not_begin_with_the_batch_are_refused(shape):
    with pytest.raises(NotApplicableError, match="do not have the batch of 2 as first dimension"):
        drop(torch.ones(shape), torch.tensor([True, False]))


def test_who_is_dropped_gets_no_gradient_and_who_is_kept_the_whole():
    features = torch.ones(2, 3, requires_grad=True)
    drop(features, torch.tensor([True, False])).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_infinite_features_that_are_dropped_are_0():
    dropped = drop(torch.tensor([[math.inf], [math.nan]]), torch.tensor([True, True]))
    assert dropped.tolist() == [[0], [0]]


def test_the_inverted_scale_keeps_the_mean():
    run = run_of()
    started(recipe := Opm(scale="inverted"), run, AHEAD, size=20_000)
    kept = recipe.on_features(run, "audio", torch.ones(20_000, 1))
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert kept.max().item() == pytest.approx(1 / (1 - 0.615529), rel=1e-5)
    certain = started(Opm(scale="inverted", q_base=1.0), run, AHEAD)
    assert certain.on_features(run, "audio", torch.ones(2, 1)).tolist() == [[0], [0]]


def test_a_share_of_the_batches_is_left_whole():
    run = run_of()
    recipe = Opm(q_base=1.0, p_exe=0.7)
    whole = 0
    for number in range(1000):
        run.micro_step = number
        started(recipe, run, AHEAD)
        kept = recipe.on_features(run, "audio", torch.ones(2, 1))
        assert kept.all() or not kept.any()
        whole += int(kept.all())
    assert whole / 1000 == pytest.approx(0.3, abs=4 * (0.21 / 1000) ** 0.5)


@pytest.mark.parametrize("settings", [{"q_base": 0.0}, {"p_exe": 0.0}, {"q_base": 0.0, "lag": 1}])
@pytest.mark.parametrize("scale", ["none", "theta", "inverted"])
def test_neutral_settings_are_bitwise_plain_training_and_draw_nothing(settings, scale):
    neutral = Opm(scale=scale, **settings)
    assert same(trained(neutral, scores=AHEAD), trained(JointTraining()))


@pytest.mark.parametrize("scale", ["none", "theta", "inverted"])
def test_equal_scores_leave_the_parameters_bitwise_those_of_plain_training(scale):
    found, plain = trained(Opm(scale=scale), scores=EQUAL), trained(JointTraining())
    del found["random state"], plain["random state"]
    assert same(found, plain)


def test_the_same_seed_drops_the_same_examples():
    assert same(trained(Opm(), scores=AHEAD), trained(Opm(), scores=AHEAD))
    assert not same(trained(Opm(), scores=AHEAD), trained(JointTraining()))


def test_with_lag_the_scores_of_the_step_before_count():
    run = run_of()
    recipe = Opm(lag=1, q_base=1.0)
    started(recipe, run, {})
    features = torch.ones(2, 1)
    assert torch.equal(recipe.on_features(run, "audio", features), features)  # none before
    recipe.on_gradients(run, seen_of(AHEAD))
    recipe.on_step_end(run)
    run.micro_step += 1
    assert not recipe.on_features(run, "audio", features).any()
    recipe.on_gradients(run, seen_of(EQUAL))
    run.skipped = torch.tensor(True)
    recipe.on_step_end(run)
    run.micro_step += 1
    assert not recipe.on_features(run, "audio", features).any()
    run.skipped = torch.tensor(False)
    recipe.on_step_end(run)
    run.micro_step += 1
    assert torch.equal(recipe.on_features(run, "audio", features), features)


def test_a_first_step_that_was_left_out_leaves_nobody_ahead():
    run = run_of()
    started(recipe := Opm(lag=1, q_base=1.0), run, {})
    recipe.on_gradients(run, seen_of(scores_of(audio=math.nan, visual=1.0)))
    run.skipped = torch.tensor(True)
    recipe.on_step_end(run)
    assert numbers(recipe.state_dict()["ratios"]) == [1, 1]


def test_the_lag_is_resumed():
    run = run_of()
    recipe, resumed = Opm(lag=1, q_base=1.0), Opm(lag=1, q_base=1.0)
    recipe.on_gradients(run, seen_of(AHEAD))
    recipe.on_step_end(run)
    resumed.on_fit_start(run)
    resumed.load_state_dict(recipe.state_dict())
    started(resumed, run, {})
    assert not resumed.on_features(run, "audio", torch.ones(2, 1)).any()


def test_a_second_training_begins_anew():
    run = run_of()
    started(recipe := Opm(lag=1, q_base=1.0), run, {})
    recipe.on_gradients(run, seen_of(AHEAD))
    recipe.on_step_end(run)
    recipe.on_fit_start(run)
    assert recipe.state_dict() == {"ratios": {}}


def test_the_mean_probability_over_micro_batches_is_recorded():
    noted = []
    run = run_of(_record=lambda quantity, values: noted.append((quantity, values)))
    recipe = Opm()
    backward(recipe, run, *batch_of(run), AHEAD)
    recipe.on_gradients(run, backward(recipe, run, *batch_of(run), EQUAL))
    ((quantity, values),) = noted
    assert quantity is DROP_PROBABILITY
    assert numbers(values) == pytest.approx([0.615529 / 2, 0], abs=1e-6)


def test_it_asks_for_what_its_settings_need():
    assert Opm().wants() == {Want.SCORES_BEFORE_FUSION}
    assert Opm(lag=1).wants() == {Want.SCORES}
    assert Opm(lag=1, scale="theta").wants() == {Want.SCORES, Want.SCORES_BEFORE_FUSION}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"q_base": 1.5}, "q_base must lie from 0 to 1; got 1.5"),
        ({"p_exe": -0.1}, "p_exe must lie from 0 to 1; got -0.1"),
        ({"lam": -1}, "lam must be 0 or more; got -1"),
        (
            {"scale": "code"},
            "scale='code' is not known. Choose one of: 'none', 'theta', 'inverted'",
        ),
        ({"lag": 2}, "lag=2 is not known. Choose one of: 0, 1"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Opm(**settings)
