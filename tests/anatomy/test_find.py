"""Who is who is found in every model of the zoo, and each line says how it is known."""

import pytest
import torch
from torch import Tensor

from imbalance_lens.anatomy.find import find_anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.self_check import bypassing_inputs, check_replay
from imbalance_lens.batches import bind
from imbalance_lens.errors import AnatomyError, BatchError, UnknownNameError
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.trees import carries_signal, map_tensors, tensors

from .late import AUDIO, LateConcat
from .zoo import FOUND, REFUSED, by_name, specimen_named


def found_in(name: str):
    specimen = specimen_named(name)
    return find_anatomy(specimen.build(), specimen.inputs(4))


@by_name(FOUND)
def test_everyone_is_recognized_without_a_hint(specimen):
    found = find_anatomy(specimen.build(), specimen.inputs(5))

    assert found.encoders == specimen.encoders
    assert found.sites == specimen.expected_sites
    assert found.head == specimen.head
    assert found.shared == specimen.shared
    assert bool(found.entangled) == specimen.entangled


@by_name(FOUND)
def test_every_line_says_how_it_is_known(specimen):
    found = find_anatomy(specimen.build(), specimen.inputs(4))

    paths = {*found.encoders.values(), *found.fusion, *found.shared}
    paths.update(path for part in (found.sites, found.parts) for p in part.values() for path in p)
    assert paths <= found.evidence.keys()
    assert all(found.evidence[path].startswith("found: ") for path in paths)


@by_name(FOUND)
def test_what_is_found_can_be_replayed_and_holds_the_whole_signal(specimen):
    model, inputs = specimen.build(), specimen.inputs(4)
    found = find_anatomy(model, inputs)

    with Replayer(model, found) as replayer:
        replay = replayer.capture(bind(unwrap(model), inputs))
        check_replay(replay)
        assert bypassing_inputs(replay) == ()


@by_name([s for s in FOUND if s.name not in ("numpy_round_trip", "nested_modalities")])
def test_gradients_agree_that_a_site_is_one_modalitys(specimen):
    model = unwrap(specimen.build())
    found = find_anatomy(model, specimen.inputs(4))
    call = bind(model, specimen.inputs(4))
    leaves = map_tensors(
        lambda t: t.clone().requires_grad_() if carries_signal(t) else t, dict(call.inputs)
    )
    outputs: dict[str, list[Tensor]] = {}

    def keep(path):
        def hook(module, args, output):
            parts = filter(carries_signal, tensors(output))
            # A copy: the model may go on to write another modality into the very same tensor.
            outputs.setdefault(path, []).extend(part.clone() for part in parts)

        return hook

    modules = dict(model.named_modules())
    for path in {path for paths in found.sites.values() for path in paths} & modules.keys():
        modules[path].register_forward_hook(keep(path))
    call.with_inputs(leaves)(model)

    for modality, paths in found.sites.items():
        others = [leaves[name] for name in leaves if name not in found.inputs[modality]]
        foreign = [tensor for tensor in tensors(others) if tensor.requires_grad]
        for output in (output for path in paths for output in outputs.get(path, ())):
            if foreign and output.requires_grad:
                grads = torch.autograd.grad(output.sum(), foreign, None, True, allow_unused=True)
                assert grads == (None,) * len(foreign)


@by_name(REFUSED)
def test_what_cannot_be_found_is_named_with_the_line_to_write(specimen):
    with pytest.raises(AnatomyError, match=specimen.refuses) as caught:
        find_anatomy(specimen.build(), specimen.inputs(4))

    assert "Pass anatomy=Anatomy(encoders={" in str(caught.value)
    assert "Modules seen: " in str(caught.value)


def test_the_complaint_is_a_sentence_to_act_on():
    specimen = specimen_named("raw_table")

    with pytest.raises(AnatomyError) as caught:
        find_anatomy(specimen.build(), specimen.inputs(4))

    assert str(caught.value) == (
        "No module reacts to 'table' alone. Pass anatomy=Anatomy(encoders={'table': "
        "'path.to.module', ...}). If it enters the fusion as it is, write 'input:table'. Modules "
        "seen: 'visual_net' (reads 'visual'), 'head' (reads 'table', 'visual')."
    )


def test_masks_lengths_and_token_types_go_with_what_they_describe():
    assert found_in("text_and_image").inputs["input_ids"] == ("input_ids", "attention_mask")
    assert found_in("packed_lstm").inputs["audio"] == ("audio", "lengths")
    assert found_in("typed_text_and_image").inputs["input_ids"] == (
        "input_ids",
        "token_type_ids",
        "attention_mask",
    )


def test_a_mapping_is_one_modality_if_it_feeds_one_and_several_if_it_feeds_several():
    assert found_in("nested_batch").inputs == {"audio": ("audio",), "visual": ("visual",)}
    assert found_in("nested_modalities").inputs == {
        "audio": ("data.audio",),
        "visual": ("data.visual",),
    }


def test_an_input_of_no_modality_is_listed():
    assert found_in("unused_input").evidence["input:index"] == "of no modality: reaches no output"


def test_entangled_branches_say_from_where_on():
    found = found_in("mmtm")

    assert found.entangled["audio"] == (
        "carries 'audio' alone in 3 of 4 called layers; from 'audio.layer3' on it also depends on "
        "'visual'"
    )
    assert found.parts["audio"] == ("audio",)
    assert found.fusion == ("exchange", "head")


def test_layers_beside_each_other_after_the_fusion_ask_for_the_users_word():
    found = found_in("flat_mmtm")

    assert "beside 'v2'" in found.evidence["a2"]
    assert "Anatomy(parts=...)" in found.evidence["a2"]
    assert "beside" not in found.evidence["head"]


def test_a_shared_trunk_is_nobodys_own():
    specimen = specimen_named("shared_trunk")
    model = specimen.build()
    found = find_anatomy(model, specimen.inputs(4))

    assert list(found.parameters(model, "left")) == []


def test_projections_and_generators_are_parts_in_the_order_of_their_calls():
    assert found_in("concat_projections").parts["visual"] == ("visual_net", "visual_proj")
    assert found_in("film_zero").parts["visual"] == ("visual_net", "film")


def test_modalities_can_be_renamed():
    specimen = specimen_named("text_and_image")
    found = find_anatomy(specimen.build(), specimen.inputs(4), names={"input_ids": "text"})

    assert found.encoders == {"text": "text", "image": "vision"}
    with pytest.raises(UnknownNameError, match="No modality named 'sound'"):
        find_anatomy(specimen.build(), specimen.inputs(4), names={"sound": "audio"})


def test_inputs_that_do_not_fit_are_refused_by_the_binding():
    with pytest.raises(BatchError, match="does not take"):
        find_anatomy(LateConcat(), (torch.ones(2, AUDIO),))
