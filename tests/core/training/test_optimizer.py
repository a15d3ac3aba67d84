import dataclasses

from coco_squares import tiny_model, tiny_recipe

import sipmask_core as sm
from sipmask_core.training.optimizer import make_optimizer
from sipmask_core.training.recipe import recipe_for


def test_frozen_parameters_are_left_to_the_model():
    model = tiny_model()
    model.backbone.requires_grad_(False)
    optimizer = make_optimizer(model, tiny_recipe())
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    assert trained.isdisjoint(id(p) for p in model.backbone.parameters())


def test_pretrained_weights_have_their_own_learning_rate():
    model = tiny_model()
    names = {name for name, p in model.backbone.named_parameters(prefix="backbone") if p.ndim > 1}
    recipe = dataclasses.replace(tiny_recipe(), pretrained_lr_factor=0.1)
    optimizer = make_optimizer(model, recipe, names)
    (group,) = (g for g in optimizer.param_groups if g["lr_factor"] == 0.1)
    by_name = dict(model.named_parameters())
    assert {id(p) for p in group["params"]} == {
        id(by_name[name]) for name in names if by_name[name].requires_grad
    }


def test_biases_and_norms_have_no_weight_decay():
    recipe = dataclasses.replace(tiny_recipe(), optimizer="sgd", bias_lr_factor=2.0)
    optimizer = make_optimizer(tiny_model(), recipe)
    for group in optimizer.param_groups:
        assert (group["weight_decay"] > 0) == all(p.ndim > 1 for p in group["params"])
    assert [group["lr_factor"] for group in optimizer.param_groups] == [1.0, 1.0, 2.0]


def settings_by_name(preset_name):
    """Return (weight decay, learning rate factor) by parameter under the preset's own recipe."""
    preset = dataclasses.replace(sm.get_preset(preset_name), channels=32, basis_channels=32)
    model = sm.build_model(preset)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, recipe_for(preset))
    return {
        names[id(p)]: (group["weight_decay"], group["lr_factor"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_the_authors_accurate_presets_decay_all_but_biases_that_learn_twice_as_fast():
    settings = settings_by_name("sipmask_r50_caffe_fpn_gn_1x")
    biases = {name for name, values in settings.items() if values == (0.0, 2.0)}
    assert {"bbox_head.fcos_cls.bias", "bbox_head.feat_align.norm.bias"} <= biases
    assert all(name.endswith(".bias") and ".gn." not in name for name in biases)
    assert {settings[name] for name in settings.keys() - biases} == {(1e-4, 1.0)}
    assert "bbox_head.cls_convs.0.gn.bias" in settings.keys() - biases


def test_the_authors_real_time_presets_treat_all_parameters_alike():
    settings = settings_by_name("sipmask_r50_caffe_fpn_ssd_gn_10x")
    assert set(settings.values()) == {(1e-4, 1.0)}
