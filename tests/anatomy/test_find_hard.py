"""Models outside the zoo: what hides, refuses, repeats or shuffles its parts."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from imbalance_lens.anatomy.find import find_anatomy
from imbalance_lens.errors import AnatomyError

from .late import AUDIO, VISUAL, WIDTH, LateConcat, ManyModalities, mlp
from .middle import CentralNet
from .structures import GroupedEncoder, OneEncoder, TextAndImage
from .zoo import mask, picture, vectors, words


def test_names_of_modules_play_no_part():
    model = ManyModalities(visual=AUDIO, head=VISUAL)
    model.forward = lambda audio, visual: type(model).forward(model, visual=audio, head=visual)

    found = find_anatomy(model, vectors(4))

    assert found.encoders == {"audio": "encoders.visual", "visual": "encoders.head"}


@settings(max_examples=25, deadline=None)
@given(
    depths=st.lists(st.integers(1, 3), min_size=2, max_size=6),
    order=st.randoms(use_true_random=False),
    projected=st.booleans(),
)
def test_any_number_of_modalities_in_any_order(depths, order, projected):
    names = [f"m{i}" for i in range(len(depths))]
    shuffled = order.sample(names, len(names))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, depth in zip(names, depths, strict=True):
                layers = [nn.Linear(7, 7) for _ in range(depth)]
                setattr(self, f"net_{name}", nn.Sequential(*layers))
                setattr(self, f"proj_{name}", nn.Linear(7, 2))
            self.head = nn.Linear(len(names) * (2 if projected else 7), 3)

        def forward(self, **inputs):
            features = []
            for name in shuffled:
                x = getattr(self, f"net_{name}")(inputs[name])
                features.append(getattr(self, f"proj_{name}")(x) if projected else x)
            return self.head(torch.cat(features, 1))

    found = find_anatomy(Net(), {name: torch.randn(3, 7) for name in names})

    assert found.encoders == {name: f"net_{name}" for name in names}
    assert found.head == "head"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_padded_transformer_with_nested_tensors_is_seen_through():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(20, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2)

        def forward(self, ids, mask):
            return self.layers(self.words(ids), src_key_padding_mask=mask == 0)[:, 0]

    model = TextAndImage()
    model.text, model.head = Text(), nn.Linear(12, 3)
    found = find_anatomy(model, (words(4), mask(4), picture(4)))

    assert found.encoders == {"input_ids": "text", "image": "vision"}


class Decoder(nn.Module):
    """One modality asks the other; the decoder holds layers that only the asking one uses."""

    def __init__(self):
        super().__init__()
        self.audio_in, self.visual_in = nn.Linear(6, 8), nn.Linear(4, 8)
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, audio, visual):
        return self.head(self.decoder(self.audio_in(audio), self.visual_in(visual)).mean(1))


def test_a_layer_inside_the_fusion_is_no_encoder_however_large():
    found = find_anatomy(Decoder(), (torch.randn(4, 5, 6), torch.randn(4, 3, 4)))

    assert found.encoders == {"audio": "audio_in", "visual": "visual_in"}
    assert found.parts["audio"] == ("audio_in",)


def test_an_encoder_called_by_its_forward_is_found_by_what_is_inside():
    class Direct(LateConcat):
        def encode(self, audio, visual):
            return self.audio_net.forward(audio), self.visual_net(visual)

    found = find_anatomy(Direct(), vectors(4))

    assert found.encoders == {"audio": "audio_net", "visual": "visual_net"}
    assert found.sites["audio"] == ("audio_net.2",)


def test_a_module_called_for_one_and_then_for_both_belongs_to_the_fusion():
    class Perceiver(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio_in, self.visual_in = nn.Linear(6, 8), nn.Linear(4, 8)
            self.latents = nn.Parameter(torch.randn(1, 3, 8))
            self.read = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, audio, visual):
            x = self.latents.expand(len(audio), -1, -1)
            for tokens in (self.audio_in(audio), self.visual_in(visual)):
                x = x + self.read(x, tokens, tokens)[0]
            return self.head(x.mean(1))

    found = find_anatomy(Perceiver(), (torch.randn(4, 5, 6), torch.randn(4, 3, 4)))

    assert found.encoders == {"audio": "audio_in", "visual": "visual_in"}
    assert found.fusion == ("read", "head")
    assert found.shared == ()


def test_halves_of_one_tensor_are_told_apart_by_changing_the_inputs():
    class Stacked(LateConcat):
        def forward(self, audio, visual):
            both = torch.cat([audio, visual], 1)
            return super().forward(both[:, :AUDIO], both[:, AUDIO:])

    found = find_anatomy(Stacked(), vectors(4))

    assert found.encoders == {"audio": "audio_net", "visual": "visual_net"}
    assert "inputs changed in turn" in found.evidence["audio_net"]


def test_a_model_that_refuses_changed_inputs_is_still_looked_at():
    class Checks(OneEncoder):
        def forward(self, audio, visual):
            if not torch.isfinite(audio).all():
                raise ValueError("not finite")
            return super().forward(audio, visual)

    found = find_anatomy(Checks(), (torch.randn(4, AUDIO), torch.randn(4, AUDIO)))

    assert found.encoders == {"audio": "encoder[0]", "visual": "encoder[1]"}


def test_a_random_model_shows_no_bypass_that_is_not_there():
    class Noisy(LateConcat):
        def encode(self, audio, visual):
            a, v = super().encode(audio, visual)
            return a + torch.randn_like(a), v

    found = find_anatomy(Noisy(), vectors(4))

    assert found.sites == {"audio": ("audio_net",), "visual": ("visual_net",)}


def test_higher_order_operators_and_sparse_inputs_are_followed():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.nodes_in, self.visual_in = nn.Linear(4, 5), nn.Linear(6, 5)
            self.head = nn.Linear(5, 2)

        def forward(self, nodes, links, visual):
            a, v = torch.sparse.mm(links, self.nodes_in(nodes)), self.visual_in(visual)
            both = torch.cond(a.mean() > 0, lambda x, y: x + y, lambda x, y: x - y, (a, v))
            return self.head(both)

    links = torch.eye(6).to_sparse()
    found = find_anatomy(Graph(), (torch.randn(6, 4), links, torch.randn(6, 6)))

    assert found.encoders == {"nodes": "nodes_in", "visual": "visual_in"}
    assert found.inputs["nodes"] == ("nodes", "links")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_encoder_is_named_in_the_complaint():
    model = LateConcat().eval()
    model.audio_net = torch.jit.script(model.audio_net)

    with pytest.raises(AnatomyError, match=re.escape("are not seen: 'audio_net'")):
        find_anatomy(model, vectors(4))


def test_a_grouped_encoder_beside_a_plain_one_is_taken_apart():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.text = GroupedEncoder(named=True), mlp(4)
            self.head = nn.Linear(3 * WIDTH, 3)

        def forward(self, audio, visual, text):
            both = self.encoder(audio, visual)
            return self.head(torch.cat([*both.values(), self.text(text)], 1))

    found = find_anatomy(Three(), (torch.randn(4, AUDIO), torch.randn(4, AUDIO), torch.randn(4, 4)))

    assert found.encoders == {
        "audio": "encoder[audio]",
        "visual": "encoder[visual]",
        "text": "text",
    }


def test_unimodal_logits_beside_the_joint_ones_do_not_hide_the_head():
    class AllLogits(CentralNet):
        def __init__(self):
            super().__init__()
            self.audio_head = nn.Linear(8, 3)

        def forward(self, audio, visual):
            return self.audio_head(self.audio.layers[0](audio)), super().forward(audio, visual)

    found = find_anatomy(AllLogits(), (torch.randn(4, 6), torch.randn(4, 4)))

    assert found.head == "head"
    assert found.parts["audio"] == ("audio", "audio_head")


def test_a_sequence_that_comes_packed_is_not_cut():
    class Packed(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net = nn.GRU(AUDIO, WIDTH)

        def encode(self, audio, visual):
            return self.audio_net(audio)[1][-1], self.visual_net(visual)

    packed = pack_sequence([torch.randn(length, AUDIO) for length in (5, 4, 2)])
    found = find_anatomy(Packed(), (packed, torch.randn(3, VISUAL)))

    assert found.encoders == {"audio": "audio_net", "visual": "visual_net"}
