import dataclasses
import json

import pytest
from coco_squares import AS_PUBLISHED, tiny_preset, tiny_recipe

import sipmask_core as sm
from sipmask_core.errors import InputError
from sipmask_core.training.augmentation.ssd import SsdAugmentation
from sipmask_core.training.recipe import RECIPES, recipe_for
from sipmask_core.training.recipe_options import OPTIONS, chosen_values


@pytest.mark.parametrize("name", sorted({*sm.preset_names(), *RECIPES}))
def test_every_preset_has_a_recipe(name):
    recipe = RECIPES[name]
    if name in sm.preset_names():
        assert recipe_for(sm.get_preset(name)) is recipe
    assert all(0 < m < recipe.epochs for m in recipe.milestones)
    assert json.loads(recipe.to_json())["lr"] == recipe.lr


AUTHORS = [name for name in RECIPES if sm.get_preset(name).inclusive_boxes]
# Epochs, milestones, sides of the training images.
SCHEDULES = {
    "sipmask_r50_caffe_fpn_gn_1x": (12, (8, 11), (1333, 1333), (800, 800)),
    "sipmask_r50_caffe_fpn_gn_ms_2x": (24, (20, 23), (1333, 1333), (640, 800)),
    "sipmask_r101_caffe_fpn_gn_ms_4x": (48, (40, 46), (1333, 1333), (640, 800)),
    "vis_sipmask_r50_caffe_fpn_gn_1x": (12, (8, 11), (640, 640), (360, 360)),
    "vis_sipmask_r50_caffe_fpn_gn_ms_1x": (12, (8, 11), (649, 960), (360, 480)),
    "benchmark_sipmask_R_50_FPN_1x": (12, (8, 11), (1333, 1333), (800, 800)),
    "benchmark_sipmask_R_101_FPN_ms_3x": (37, (29, 34), (1333, 1333), (640, 800)),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_authors_presets_have_their_optimiser(name):
    recipe = RECIPES[name]
    assert (recipe.optimizer, recipe.lr, recipe.batch_size) == ("sgd", 0.01, 16)
    assert (recipe.weight_decay, recipe.warmup_steps) == (1e-4, 500)
    assert recipe.warmup_factor == pytest.approx(1 / 3)
    real_time = "_ssd_" in name
    assert recipe.bias_lr_factor == (1.0 if real_time else 2.0)
    assert recipe.warmup == ("linear" if real_time else "constant")
    assert (recipe.decayed == "all") == real_time


@pytest.mark.parametrize("name", SCHEDULES)
def test_authors_presets_have_their_epochs_and_image_sizes(name):
    recipe = RECIPES[name]
    sizes = recipe.augmentation
    assert (recipe.epochs, recipe.milestones, sizes.long, sizes.short) == SCHEDULES[name]
    assert recipe.input_size is None and sizes.flip == 0.5


@pytest.mark.parametrize(("suffix", "repeats"), [("6x", 3), ("10x", 5)])
def test_repeated_data_are_counted_in_passes(suffix, repeats):
    for recipe in (RECIPES[name] for name in AUTHORS if name.endswith(suffix)):
        assert recipe.epochs == 24 * repeats
        assert recipe.milestones == (20 * repeats, 23 * repeats)
        assert recipe.input_size == (576, 576)
        assert recipe.augmentation == SsdAugmentation()


def test_a_preset_without_a_recipe_gets_ours_or_a_refusal():
    own = dataclasses.replace(tiny_preset(), name="mine")
    assert recipe_for(own) is RECIPES["sipmask_r18_lite"]
    with pytest.raises(InputError, match="no recipe for 'mine'; there are: sipmask_r50"):
        recipe_for(dataclasses.replace(own, **AS_PUBLISHED))


def test_the_learning_rate_follows_the_batch_size():
    recipe = RECIPES["sipmask_r50_caffe_fpn_gn_1x"].scaled_to(4)
    assert (recipe.batch_size, recipe.lr) == (4, 0.0025)
    assert recipe.scaled_to(16) == RECIPES["sipmask_r50_caffe_fpn_gn_1x"]
    with pytest.raises(InputError, match="batch_size is 0"):
        recipe.scaled_to(0)


def test_only_our_own_augmentation_may_start_from_smaller_images():
    assert RECIPES["sipmask_r18_lite"].source_side == 400
    assert all(RECIPES[name].source_side is None for name in AUTHORS)


def chosen_size(recipe, side):
    return chosen_values({"input_size": side}, recipe.turns)


def test_the_longer_side_chooses_the_canvas_of_a_recipe_that_turns_it():
    recipe = recipe_for(sm.get_preset("sipmask_efficientnet_lite0"))
    assert recipe.turns and recipe.input_size == (288, 384)
    assert [recipe.changed(chosen_size(recipe, side)).input_size for side in (96, 256)] == [
        (96, 96),
        (192, 256),
    ]
    square = recipe_for(sm.get_preset("sipmask_r18_lite"))
    assert square.changed(chosen_size(square, 256)).input_size == (256, 256)
    for wrong in (100, 64, 0, -256):
        with pytest.raises(InputError, match="accepted is a multiple of 32 from 96"):
            recipe.changed(chosen_size(recipe, wrong))


def test_an_input_size_is_given_exactly_where_images_do_not_keep_their_ratio():
    with pytest.raises(InputError, match="accepted is none, since images keep their aspect ratio"):
        dataclasses.replace(RECIPES["sipmask_r50_caffe_fpn_gn_1x"], input_size=(512, 512))
    with pytest.raises(InputError, match="accepted is a height and a width"):
        dataclasses.replace(tiny_recipe(), input_size=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_size", (96, 100)),
        ("input_size", (64, 96)),
        ("epochs", 0),
        ("batch_size", -1),
        ("validate_every", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_named(field, value):
    with pytest.raises(InputError, match=f"The training {field} is") as caught:
        dataclasses.replace(tiny_recipe(), **{field: value})
    assert "accepted is" in str(caught.value)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_option_is_a_field_whose_default_is_accepted(option):
    for recipe in RECIPES.values():
        assert option.accepts(getattr(recipe, option.field))
    assert option.accepted and option.help
