import dataclasses

import pytest
import torch
from coco_squares import tiny_model, tiny_preset, tiny_recipe
from full_disk import SAYS, full_disk
from training_runs import make_trainer, squares_dataset

from sipmask_core.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "without_curves")]


@pytest.fixture
def dataset(tmp_path):
    return squares_dataset(tmp_path / "data")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    trainer.save()
    before = (tmp_path / "last.pth").read_bytes()

    with full_disk(1000), pytest.raises(InputError, match=rf"last\.pth: {SAYS}"):
        trainer.save()
    assert (tmp_path / "last.pth").read_bytes() == before
    assert [p.name for p in tmp_path.glob("*last*")] + [p.name for p in tmp_path.glob(".*")] == [
        "last.pth"
    ]


def test_a_run_resumes_with_its_own_recipe_and_data_only(dataset, tmp_path):
    make_trainer(dataset, tmp_path).save()
    other = make_trainer(dataset, tmp_path, dataclasses.replace(tiny_recipe(), lr=0.5))
    with pytest.raises(InputError, match=r"another recipe .*: lr was 0\.001, is 0\.5"):
        other.resume()
    other = make_trainer(dataset, tmp_path)
    dataset.annotations = dataclasses.replace(dataset.annotations, sha256="0")
    with pytest.raises(InputError, match="another annotation file"):
        other.resume()
    other.learner.model.preset = dataclasses.replace(tiny_preset(), sub_regions=3)
    with pytest.raises(InputError, match="another preset"):
        other.resume()


def test_a_run_resumes_with_its_own_training_images_only(dataset, tmp_path):
    whole = dataset.annotations
    dataset.annotations = whole.split(2)[0]
    make_trainer(dataset, tmp_path).save()
    dataset.annotations = whole.split(1)[0]
    with pytest.raises(InputError, match=r"other images of .* hold out the same ones as it does"):
        make_trainer(dataset, tmp_path).resume()


def test_a_resumed_run_knows_itself_what_was_pretrained(dataset, tmp_path):
    recipe = dataclasses.replace(tiny_recipe(), pretrained_lr_factor=0.1)
    names = [name for name, _ in tiny_model().backbone.named_parameters(prefix="backbone")]
    started = make_trainer(dataset, tmp_path, recipe, pretrained=names)
    started.save()
    resumed = make_trainer(dataset, tmp_path, recipe)
    resumed.resume()
    factors = [
        [(group["lr_factor"], len(group["params"])) for group in learner.optimizer.param_groups]
        for learner in (started.learner, resumed.learner)
    ]
    assert factors[0] == factors[1] and 0.1 in dict(factors[0])
    resumed.run()
    assert torch.load(tmp_path / "last.pth", weights_only=True)["pretrained"] == sorted(names)


def test_resume_needs_a_checkpoint_of_a_run(dataset, tmp_path):
    trainer = make_trainer(dataset, tmp_path)
    with pytest.raises(InputError, match=r"no run to resume: .*last\.pth is missing"):
        trainer.resume()
    torch.save({"state_dict": {}}, tmp_path / "last.pth")
    with pytest.raises(InputError, match=r"last\.pth is not a checkpoint of a run"):
        trainer.resume()
    (tmp_path / "last.pth").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"last\.pth is not a checkpoint of a run"):
        trainer.resume()
