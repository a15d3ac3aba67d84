"""EfficientNet-Lite0 as a backbone: published weights, and the same features however it runs."""

import copy

import pytest
import torch
import torch.nn.functional as F

import sipmask_core as sm
from sipmask_core.model.efficientnet import STAGES, EfficientNetLite, own_key

PUBLISHED = {
    "stem": "_conv_stem",
    "stem_norm": "_bn0",
    "expand": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project": "_project_conv",
    "project_norm": "_bn2",
}


def published_key(key):
    *place, layer, field = key.split(".")
    return ".".join([*(["_blocks", place[1]] if place else []), PUBLISHED[layer], field])


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    net = EfficientNetLite()
    for name, value in net.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            value.normal_(std=0.1)
        elif name.endswith(("running_var", "norm.weight")):
            value.uniform_(0.5, 1.5)
    return net.eval()


def test_levels_have_the_strides_and_widths_of_the_paper(backbone):
    levels = backbone(torch.randn(1, 3, 64, 96))
    assert [level.shape[1:] for level in levels] == [
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    assert sum(depth for _, depth, _, _ in STAGES) == len(backbone.blocks) == 16


def test_published_weights_are_taken_under_their_own_names(backbone, tmp_path):
    state = {published_key(key): value for key, value in backbone.state_dict().items()}
    assert {own_key(key) for key in state} == backbone.state_dict().keys()
    state |= {"_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "lite0.pth")
    model = sm.build_model("sipmask_efficientnet_lite0", num_classes=2)
    assert sm.load_backbone(model, tmp_path / "lite0.pth") == []
    for key, value in backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)


def test_weights_of_another_backbone_are_refused(tmp_path):
    resnet = sm.build_model("sipmask_r18_lite", num_classes=2).backbone
    torch.save(resnet.state_dict(), tmp_path / "resnet.pth")
    model = sm.build_model("sipmask_efficientnet_lite0", num_classes=2)
    with pytest.raises(sm.InputError, match="fit the efficientnet_lite0 backbone"):
        sm.load_backbone(model, tmp_path / "resnet.pth")


def test_a_frozen_norm_in_the_convolution_is_the_norm_after_it(backbone):
    block = backbone.blocks[4]
    x = torch.randn(2, block.expand.in_channels, 9, 7)
    y = F.relu6(block.expand_norm(block.expand(x)))
    y = F.relu6(block.depthwise_norm(block.depthwise(y)))
    y = block.project_norm(block.project(y)) + x
    torch.testing.assert_close(block(x), y, atol=1e-5, rtol=1e-4)


def test_folding_changes_nothing(backbone):
    image = torch.randn(1, 3, 64, 64)
    folded = copy.deepcopy(backbone)
    folded.fold_batch_norm()
    assert not any("norm" in key for key in folded.state_dict())
    for there, here in zip(backbone(image), folded(image), strict=True):
        torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_what_lies_before_stride_eight_and_every_norm_are_frozen(backbone):
    learning = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert learning == {
        f"blocks.{i}.{layer}.weight"
        for i in range(3, 16)
        for layer in ("expand", "depthwise", "project")
    }


def test_bf16_training_has_the_gradients_of_float32(backbone):
    image = torch.rand(2, 3, 64, 64)

    def gradient(precise):
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            sum(level.float().mean() for level in backbone(image)).backward()
        return torch.cat([p.grad.flatten() for p in backbone.parameters() if p.requires_grad])

    exact, rounded = gradient(True), gradient(False)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99
