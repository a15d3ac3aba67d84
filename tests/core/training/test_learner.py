import dataclasses
import math

import pytest
import torch
from coco_squares import tiny_model, tiny_recipe
from training_runs import make_trainer, squares_dataset, steps

import sipmask_core as sm
from sipmask_core.errors import InputError
from sipmask_core.training.loop import DivergenceError
from sipmask_core.training.objective import named_losses
from sipmask_core.training.samples import AugmentedSamples

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]


@pytest.fixture
def dataset(tmp_path):
    return squares_dataset(tmp_path / "data")


def applied_gradients(trainer):
    """Return a list that fills with each step's gradients, by parameter, as applied."""
    applied = []
    step = trainer.learner.optimizer.step

    def watched(*arguments):
        named = trainer.learner.model.named_parameters()
        applied.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        return step(*arguments)

    trainer.learner.optimizer.step = watched
    return applied


def test_the_parts_of_a_batch_give_the_mean_of_their_gradients(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, clip_norm=0.0)
    trainer = make_trainer(dataset, tmp_path, dataclasses.replace(recipe, accumulate=3))
    batches = []
    losses = trainer.learner.objective.losses

    def watched(images, targets, normalise):
        batches.append((images, targets))
        return losses(images, targets, normalise)

    trainer.learner.objective.losses = watched
    applied = applied_gradients(trainer)
    trainer.run()
    assert [len(images) for images, _ in batches] == [1] * 6

    torch.manual_seed(recipe.seed)
    model = tiny_model()
    for images, targets in batches[:3]:
        (torch.stack(list(named_losses(model, images, targets).values())).sum() / 3).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(applied[0][name], parameter.grad, rtol=1e-3, atol=1e-5), name
    assert steps(tmp_path)[0]["losses"] == pytest.approx(
        {
            name: sum(named_losses(model, *batch)[name].item() for batch in batches[:3]) / 3
            for name in steps(tmp_path)[0]["losses"]
        },
        rel=1e-4,
    )


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_gradients_are_scaled_down_to_the_norm_that_was_asked_for(dataset, tmp_path, clip_norm):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, clip_norm=clip_norm)
    trainer = make_trainer(dataset, tmp_path, recipe)
    applied = applied_gradients(trainer)
    trainer.run()
    for line, gradients in zip(steps(tmp_path), applied, strict=True):
        norm = torch.stack([g.norm() for g in gradients.values()]).norm().item()
        assert norm == pytest.approx(clip_norm or line["grad_norm"], rel=1e-3)
        assert line["grad_norm"] > 0.5


def test_a_step_whose_half_precision_gradients_overflow_is_left_out(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1, precision="fp16")
    trainer = make_trainer(dataset, tmp_path, recipe)
    trainer.learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {k: v.clone() for k, v in trainer.learner.model.state_dict().items()}
    trainer.run()
    assert [line["grad_norm"] for line in steps(tmp_path)] == [None, None]
    resumed = make_trainer(dataset, tmp_path, recipe)
    resumed.resume()
    assert resumed.learner.scaler.get_scale() == trainer.learner.scaler.get_scale() == 2.0**38
    assert all(torch.equal(v, before[k]) for k, v in trainer.learner.model.state_dict().items())


def test_half_precision_gradients_that_always_overflow_end_the_run(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path, dataclasses.replace(tiny_recipe(), precision="fp16"))
    trainer.learner.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    weight = trainer.learner.model.bbox_head.fcos_cls.weight
    weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergenceError, match=r"step 0: gradient norm.* is inf"):
        trainer.run()


class ReferenceSamples(AugmentedSamples):
    """Each image is its own reference."""

    def __getitem__(self, key):
        image, target = super().__getitem__(key)
        return image, {**target, "reference_image": image}


def test_reference_images_are_normalised_like_images(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), epochs=1)
    trainer = make_trainer(dataset, tmp_path, recipe, samples=ReferenceSamples)
    losses = trainer.learner.objective.losses

    def watched(images, targets, normalise):
        references = torch.stack([target["reference_image"] for target in targets])
        assert images.shape == (3, 3, 96, 96)
        assert torch.equal(references, images)
        return losses(images, targets, normalise)

    trainer.learner.objective.losses = watched
    trainer.run()
    assert len(steps(tmp_path)) == 2


def test_only_the_named_part_is_trained_and_all_else_stays_bit_for_bit(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), train_only="fcos_cls")
    trainer = make_trainer(dataset, tmp_path / "run", recipe)
    before = {name: value.clone() for name, value in trainer.learner.model.state_dict().items()}
    trainer.run()
    published = sm.load_model(tmp_path / "run" / "best.safetensors").state_dict()
    for weights in (trainer.learner.model.state_dict(), published):
        changed = {name for name, value in weights.items() if not torch.equal(value, before[name])}
        assert changed == {"bbox_head.fcos_cls.weight", "bbox_head.fcos_cls.bias"}


@pytest.mark.parametrize("part", ["trak", "backbone.layer1"])
def test_a_part_without_anything_to_train_is_refused(dataset, tmp_path, part):
    recipe = dataclasses.replace(tiny_recipe(), train_only=part)
    with pytest.raises(InputError, match=f"no trainable parameter with '{part}' in its name"):
        make_trainer(dataset, tmp_path / "run", recipe)
