import dataclasses
import json

import pytest
from coco_squares import tiny_recipe

import sipmask_core as sm
from sipmask_core.errors import InputError
from sipmask_core.training.recipe import recipe_for


@pytest.mark.parametrize("name", sm.preset_names())
def test_every_preset_has_a_recipe(name):
    recipe = recipe_for(sm.get_preset(name))
    assert all(m < recipe.epochs for m in recipe.milestones)
    assert json.loads(recipe.to_json())["lr"] == recipe.lr


def test_authors_presets_have_their_epochs_and_optimiser():
    # Epochs and milestones of the published configurations; "6x" repeats the data three times.
    recipe = recipe_for(sm.get_preset("sipmask_r50_caffe_fpn_gn_1x"))
    assert (recipe.optimizer, recipe.lr, recipe.epochs, recipe.milestones) == (
        "sgd",
        0.01,
        12,
        (8, 11),
    )
    assert recipe.bias_lr_factor == 2.0 and recipe.warmup == "constant"
    recipe = recipe_for(sm.get_preset("sipmask++_r101_caffe_fpn_ssd_6x"))
    assert (recipe.epochs, recipe.milestones, recipe.input_size) == (72, (60, 69), (576, 576))
    assert recipe.bias_lr_factor == 1.0 and recipe.warmup == "linear"


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
    with pytest.raises(InputError, match=field.replace("_", ".")) as caught:
        dataclasses.replace(tiny_recipe(), **{field: value})
    assert "accepted is" in str(caught.value)
