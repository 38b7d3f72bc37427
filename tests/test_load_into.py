import pytest
import torch
from torch import nn

from imbalance_lens.checkpoints import load_into
from imbalance_lens.errors import CheckpointError


def saved(folder, content):
    torch.save(content, folder / "run.pt")
    return folder / "run.pt"


def network():
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Linear(4, 3))


def same(one, other, name):
    return torch.equal(one.state_dict()[name], other.state_dict()[name].float())


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "lightning.model."])
def test_a_checkpoint_loads_whatever_prefix_all_its_names_share(tmp_path, prefix):
    trained, model = network(), network()
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    load_into(model, saved(tmp_path, {"state_dict": state}))
    assert_same(model.state_dict(), trained.state_dict())


def test_a_wrapped_model_is_loaded_like_its_inside(tmp_path):
    trained, model = network(), network()
    load_into(nn.DataParallel(model), saved(tmp_path, trained.state_dict()))
    assert_same(model.state_dict(), trained.state_dict())


def test_a_checkpoint_without_the_counters_of_newer_versions_loads(tmp_path):
    trained, model = network(), network()
    state = {n: t for n, t in trained.state_dict().items() if "num_batches" not in n}
    load_into(model, saved(tmp_path, state))
    assert same(model, trained, "0.weight")


def test_half_precision_loads_into_a_single_precision_model(tmp_path):
    trained, model = network(), network()
    load_into(model, saved(tmp_path, {n: t.half() for n, t in trained.state_dict().items()}))
    assert model.state_dict()["0.weight"].dtype is torch.float32
    assert same(model, trained.half(), "0.weight")


def refused(model, file, **how):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(model, file, **how)
    assert_same(model.state_dict(), before)
    return str(caught.value)


def test_what_does_not_fit_is_reported_by_kind_and_nothing_is_loaded(tmp_path):
    state = network().state_dict()
    state["2.weight"] = torch.zeros(5, 4)
    state |= {"extra.a": torch.ones(1), "extra.b": torch.ones(1)}
    del state["1.weight"], state["1.bias"], state["0.bias"]
    report = refused(network(), saved(tmp_path, state))
    assert "only in the model: 0.bias, 1.* (2)\n" in report
    assert "only in the file: extra.* (2)\n" in report
    assert "of another shape: 2.weight is (5, 4) in the file and (3, 4) here" in report


def test_the_counters_of_newer_versions_are_not_reported(tmp_path):
    trained = network().state_dict()
    report = refused(network(), saved(tmp_path, {"0.weight": trained["0.weight"]}))
    assert "only in the model: 0.bias, 1.* (4), 2.* (2)" in report


def test_a_long_report_stays_short(tmp_path):
    wide = nn.ModuleDict({f"part{i}": nn.Linear(2, 2) for i in range(40)})
    other = {f"other{i}.{j}": torch.ones(1) for i in range(40) for j in "ab"}
    other |= {f"part{i}.weight": torch.ones(3) for i in range(40)}
    report = refused(wide, saved(tmp_path, other))
    assert report.count("\n") <= 10
    assert "other0.* (2), other1.* (2), other2.* (2), other3.* (2), other4.* (2), and 35" in report
    assert report.count(" in the file and ") == 5


def test_a_shared_prefix_that_does_not_settle_it_is_pointed_out(tmp_path):
    state = {f"net.{name}": tensor for name, tensor in network().state_dict().items()}
    report = refused(network(), saved(tmp_path, {**state, "net.spare": torch.ones(1)}))
    assert f"begins with 'net.'; without it {len(state)} of {len(state) + 1} are names" in report


def test_without_strict_a_part_is_loaded_but_shapes_still_count(tmp_path):
    trained, model = network(), network()
    part = {"2.weight": trained[2].weight, "strange": torch.ones(1)}
    load_into(model, saved(tmp_path, part), strict=False)
    assert same(model, trained, "2.weight")
    wrong = {"0.weight": trained[0].weight, "2.weight": torch.ones(7)}
    assert "2.weight is (7,)" in refused(network(), saved(tmp_path, wrong), strict=False)


def test_without_strict_something_has_to_fit(tmp_path):
    report = refused(network(), saved(tmp_path, {"strange": torch.ones(1)}), strict=False)
    assert "only in the file: strange" in report
