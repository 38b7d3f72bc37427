"""How the walk through the module tree chooses encoders, branches and the head."""

import torch
from torch import Tensor, nn

from imbalance_lens.anatomy.find import find_anatomy

from .late import AUDIO, VISUAL, WIDTH, LateConcat, mlp
from .middle import CHANNELS, CLASSES, Mmtm
from .structures import GroupedEncoder
from .zoo import narrow, vectors


def test_a_container_of_one_is_looked_into():
    class Boxed(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net = nn.ModuleDict({"net": mlp(AUDIO)})

        def encode(self, audio, visual):
            return self.audio_net["net"](audio), self.visual_net(visual)

    found = find_anatomy(Boxed(), vectors(4))

    assert found.encoders["audio"] == found.sites["audio"][0] == "audio_net.net"


class Body(nn.Module):
    """Holds a whole network and is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Mmtm()
        self.audio_exit = nn.Linear(CHANNELS, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        early = self.audio_exit(self.body.audio.stem(audio))
        return early, Mmtm.forward(self.body, audio, visual)


def test_entangled_is_the_branch_and_not_what_holds_both_branches():
    found = find_anatomy(Body(), narrow(4))

    assert found.encoders == {"audio": "body.audio", "visual": "body.visual"}
    assert set(found.entangled) == {"audio", "visual"}


def test_what_an_entangled_modality_owns_outside_its_branch_stays_its_own():
    assert find_anatomy(Body(), narrow(4)).parts["audio"] == ("body.audio", "audio_exit")


def test_a_branch_that_is_called_with_the_others_features_is_fusion_after_its_start():
    class Asking(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.enter, self.mix = mlp(size), nn.Linear(2 * WIDTH, WIDTH)

        def forward(self, x, other):
            return self.mix(torch.cat([self.enter(x), other], 1))

    class Conditioned(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net = Asking(AUDIO)

        def forward(self, audio, visual):
            v = self.visual_net(visual)
            return self.head(torch.cat([self.audio_net(audio, v), v], 1))

    found = find_anatomy(Conditioned(), vectors(4))

    assert found.encoders == {"audio": "audio_net.enter", "visual": "visual_net"}
    assert found.entangled == {}
    assert found.fusion == ("audio_net.mix", "head")


def test_an_encoder_that_answers_codes_is_read_before_it_makes_them():
    class Codes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(AUDIO)

        def forward(self, x):
            return self.net(x).argmax(1)

    class Quantized(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net, self.words = Codes(), nn.Embedding(WIDTH, WIDTH)

        def encode(self, audio, visual):
            return self.words(self.audio_net(audio)), self.visual_net(visual)

    found = find_anatomy(Quantized(), vectors(4))

    assert found.encoders["audio"] == "audio_net.net"
    assert found.parts["audio"] == ("audio_net.net", "words")


def test_logits_by_their_name_tell_the_head_from_other_heads():
    class Heads(LateConcat):
        def __init__(self):
            super().__init__()
            self.matching = nn.Linear(2 * WIDTH, 2)

        def forward(self, audio, visual):
            both = torch.cat(self.encode(audio, visual), 1)
            return {"matching": self.matching(both), "logits": self.head(both)}

    assert find_anatomy(Heads(), vectors(4)).head == "head"


def test_two_outputs_without_names_have_no_head():
    class Heads(LateConcat):
        def __init__(self):
            super().__init__()
            self.matching = nn.Linear(2 * WIDTH, 2)

        def forward(self, audio, visual):
            both = torch.cat(self.encode(audio, visual), 1)
            return self.matching(both), self.head(both)

    assert find_anatomy(Heads(), vectors(4)).head is None


def test_an_in_place_change_after_the_head_is_not_the_heads_output():
    class Clamped(LateConcat):
        def forward(self, audio, visual):
            return super().forward(audio, visual).clamp_(-1, 1)

    assert find_anatomy(Clamped(), vectors(4)).head is None


def test_a_copy_or_another_type_of_the_heads_output_still_is():
    class Cast(LateConcat):
        def forward(self, audio, visual):
            return super().forward(audio, visual).double().clone().unsqueeze(1).squeeze(1)

    assert find_anatomy(Cast(), vectors(4)).head == "head"


def test_an_input_that_is_handed_through_beside_the_logits_is_no_bypass():
    class Handing(LateConcat):
        def forward(self, audio, visual):
            return audio, super().forward(audio, visual)

    found = find_anatomy(Handing(), vectors(4))

    assert found.sites == {"audio": ("audio_net",), "visual": ("visual_net",)}


def test_an_encoder_for_all_is_taken_apart_even_if_it_has_a_stem_for_each():
    class Stems(GroupedEncoder):
        def __init__(self):
            super().__init__(named=False)
            self.audio_stem = nn.Linear(AUDIO, AUDIO)
            self.visual_stem = nn.Linear(VISUAL, AUDIO)

        def forward(self, audio, visual):
            return super().forward(self.audio_stem(audio), self.visual_stem(visual))

    class Whole(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net = self.visual_net = nn.Identity()
            self.encoder = Stems()

        def encode(self, audio, visual):
            return self.encoder(audio, visual)

    found = find_anatomy(Whole(), vectors(4))

    assert found.encoders == {"audio": "encoder[0]", "visual": "encoder[1]"}


def test_an_encoder_for_all_that_holds_one_network_for_each_is_looked_into():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio_net, self.visual_net = mlp(AUDIO), mlp(VISUAL)

        def forward(self, audio, visual):
            return self.audio_net(audio), self.visual_net(visual)

    class Whole(LateConcat):
        def __init__(self):
            super().__init__()
            self.audio_net = self.visual_net = nn.Identity()
            self.encoder = Both()

        def encode(self, audio, visual):
            return self.encoder(audio, visual)

    found = find_anatomy(Whole(), vectors(4))

    assert found.encoders == {"audio": "encoder.audio_net", "visual": "encoder.visual_net"}
    assert found.fusion == ("head",)


def test_branches_that_only_share_a_storage_are_not_entangled():
    class Stacked(Mmtm):
        def forward(self, audio, visual):
            a, v = self.audio.stem(audio).relu(), self.visual.stem(visual).relu()
            both = torch.stack([self.audio.layer1(a), self.visual.layer1(v)])
            a, v = self.audio.layer2(both[0]), self.visual.layer2(both[1])
            return self.head(torch.cat([a, v], 1))

    found = find_anatomy(Stacked(), narrow(4))

    assert found.entangled == {}
    assert found.encoders == {"audio": "audio", "visual": "visual"}


def test_a_gate_that_is_zero_at_present_still_joins_the_modalities():
    class Gate(nn.Linear):
        def __init__(self):
            super().__init__(WIDTH, WIDTH)
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    class Stacked(LateConcat):
        def __init__(self):
            super().__init__()
            self.gate, self.after = Gate(), nn.Linear(WIDTH, 2 * WIDTH)

        def forward(self, audio, visual):
            both = torch.cat([audio, visual], 1)  # one storage: the flow leaves doubt
            a, v = self.encode(both[:, :AUDIO], both[:, AUDIO:])
            return self.head(self.after(a + a * self.gate(v)))

    found = find_anatomy(Stacked(), vectors(4))

    assert found.fusion == ("after", "head")
    assert found.parts["visual"] == ("visual_net", "gate")
