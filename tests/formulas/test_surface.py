import importlib
import subprocess
import sys

import pytest
import torch

from imbalance_lens import formulas


def test_every_public_name_is_there_and_documented():
    for name in formulas.__all__:
        assert getattr(formulas, name).__doc__


def test_formulas_pull_in_nothing_but_torch():
    heavy = ["xarray", "scipy", "sklearn", "matplotlib", "captum", "imbalance_lens.hooks"]
    code = f"import sys, imbalance_lens.formulas; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_s_name_still_imports_where_a_formula_has_the_same_one():
    module = importlib.import_module("imbalance_lens.formulas.coalitions")
    assert module.coalitions is formulas.coalitions


def one_step(device):
    """Everything that a probe or a recipe computes in a step of training."""
    logits, labels = torch.randn(8, 4, device=device), torch.zeros(8, device=device).long()
    features = {name: torch.randn(8, 3, device=device) for name in ("a", "b", "c")}
    weight, bias = torch.randn(4, 9, device=device), torch.randn(4, device=device)
    parts = formulas.split_logits(features, weight, bias)
    scores = {name: formulas.label_confidence(part, labels).sum() for name, part in parts.items()}
    formulas.discrepancy_ratio(scores)
    formulas.correct(logits, labels)
    moments, sums = formulas.Moments(), formulas.ClassSums(4)
    for _ in range(2):
        moments.update(formulas.centered_logit_norm(logits))
        sums.update(formulas.logit_norm(logits), labels)
    moments.merge(moments)
    sums.merge(sums)
    formulas.dead_rate(torch.randn(8, 3, 2, 2, device=device))
    formulas.constant_activations(moments.mean[None], moments.std[None])
    sets = formulas.coalitions(list(parts))
    values = {members: logits * len(members) for members in sets}
    formulas.shapley_values(values)
    formulas.shapley_interactions(values)
    formulas.cooperation(values)
    formulas.arrival_gains(values, list(parts))
    formulas.presence_probability(sets[1], dict.fromkeys(parts, logits[:, 0]))
    formulas.additive_projection(logits for _ in logits)
    formulas.kl_divergence(logits, logits * 2)
    formulas.cosine(logits[0], logits[1])
    formulas.magnitude_shares(scores)
    formulas.label_log_probability(logits, labels)
    reliability = formulas.Reliability()
    for _ in range(2):
        reliability.update(formulas.top_confidence(logits), formulas.correct(logits, labels))
    reliability.merge(reliability)
    formulas.additivity_gap(logits, logits * 0, parts)
    formulas.overfitting_to_generalization(*logits[:4, 0])
    return sums


def test_no_formula_of_a_step_asks_for_a_value():
    assert one_step("meta").sums.device.type == "meta"  # tensors there have no values to ask for


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_no_formula_of_a_step_waits_for_the_device():
    one_step("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        one_step("cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")
