"""Which inputs are one modality, and which are two."""

import torch
from torch import Tensor, nn

from imbalance_lens.anatomy.find import find_anatomy

from .late import AUDIO, VISUAL, WIDTH, LateConcat
from .structures import TextAndImage
from .zoo import mask, picture, vectors, words


class TwoTexts(nn.Module):
    """Two texts that own embedding tables only, and perhaps a picture."""

    def __init__(self, pictured: bool) -> None:
        super().__init__()
        self.question, self.passage = nn.EmbeddingBag(20, WIDTH), nn.EmbeddingBag(30, WIDTH)
        self.texts = nn.Linear(WIDTH, WIDTH)
        self.vision = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, WIDTH)) if pictured else None
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, question: Tensor, passage: Tensor, image: Tensor | None = None) -> Tensor:
        text = self.texts(self.question(question) + self.passage(passage))
        return self.head(text if self.vision is None else text + self.vision(image))


def test_two_texts_alone_are_two_modalities():
    found = find_anatomy(TwoTexts(pictured=False), (words(4), words(4)))

    assert found.encoders == {"question": "question", "passage": "passage"}
    assert found.fusion == ("texts", "head")


def test_two_texts_read_together_beside_a_picture_are_one():
    found = find_anatomy(TwoTexts(pictured=True), (words(4), words(4), picture(4)))

    assert found.inputs == {"passage": ("passage", "question"), "image": ("image",)}
    assert found.parts["passage"] == ("question", "passage", "texts")


def test_a_mask_for_all_belongs_to_none():
    class Masked(LateConcat):
        def forward(self, audio, visual, mask):
            return super().forward(audio * mask, visual * mask)

    found = find_anatomy(Masked(), (*vectors(4), torch.ones(4, 1)))

    assert found.encoders == {"audio": "audio_net", "visual": "visual_net"}
    assert found.evidence["input:mask"] == "of no modality: goes with 'audio', 'visual' alike"


def test_a_mask_that_describes_two_modalities_after_their_first_layers_belongs_to_none():
    class Masked(LateConcat):
        def encode(self, audio, visual):
            audio, visual = self.audio_net[0](audio), self.visual_net[0](visual)
            audio, visual = audio * self.mask, visual * self.mask
            return self.audio_net[2](audio), self.visual_net[2](visual)

        def forward(self, audio, visual, mask):
            self.mask = mask
            return super().forward(audio, visual)

    found = find_anatomy(Masked(), (*vectors(4), torch.ones(4, 1)))

    assert found.encoders == {"audio": "audio_net", "visual": "visual_net"}
    assert "input:mask" in found.evidence


def test_features_and_not_their_mask_name_the_modality():
    class Pooled(LateConcat):
        def forward(self, kept, audio, visual):
            return super().forward(audio * kept.float().mean(1, keepdim=True), visual)

    found = find_anatomy(Pooled(), (torch.arange(400).view(4, 100), *vectors(4)))

    assert found.inputs == {"audio": ("audio", "kept"), "visual": ("visual",)}


def test_a_mask_that_goes_on_to_the_fusion_leaves_the_encoder_the_site():
    class Pools(TextAndImage):
        def forward(self, input_ids, attention_mask, image):
            features = [self.text(input_ids, attention_mask), self.vision(image)]
            return self.head(torch.cat(features, 1)) / attention_mask.sum(1, keepdim=True)

    found = find_anatomy(Pools(), (words(4), mask(4), picture(4)))

    assert found.sites["input_ids"] == ("text",)
    assert found.evidence["input:attention_mask"] == (
        "of 'input_ids': also reaches the output past its sites"
    )


def test_inputs_without_a_tensor_are_left_out():
    class Named(LateConcat):
        def forward(self, audio, visual, ids, scale):
            assert len(ids) == 4
            return super().forward(audio, visual) * scale

    found = find_anatomy(Named(), (*vectors(4), ["a", "b", "c", "d"], 2.0))

    assert found.inputs == {"audio": ("audio",), "visual": ("visual",)}


def test_equal_last_keys_keep_their_whole_names():
    class Nested(LateConcat):
        def forward(self, left, right):
            on = left["on"] * right["on"]
            return super().forward(left["x"] * on, right["x"] * on)

    inputs = {"left": {"x": torch.randn(4, AUDIO)}, "right": {"x": torch.randn(4, VISUAL)}}
    for side in inputs.values():
        side["on"] = torch.ones(4, 1)
    found = find_anatomy(Nested(), inputs)

    assert found.encoders == {"left.x": "audio_net", "right.x": "visual_net"}
