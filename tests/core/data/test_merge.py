from pathlib import Path

from coco_documents import write_boxes
from coco_squares import write_squares

from sipmask_core.data.coco import read_annotations
from sipmask_core.data.merge import merged, with_classes


def seen(annotations):
    return {
        image.file_name: [annotations.class_names[o.label] for o in image.objects]
        for image in annotations.images
    }


def test_classes_correspond_by_name_and_what_a_file_lacks_is_unknown(tmp_path):
    pets = write_boxes(tmp_path, "pets", ["cat", "dog"], {1: "a.png"}, [(1, "dog"), (1, "cat")])
    people = write_boxes(tmp_path, "people", ["person", "dog"], {1: "b.png"}, [(1, "dog")])
    both = merged([(pets, tmp_path / "x"), (people, tmp_path / "y")])
    assert both.class_names == ("cat", "dog", "person")
    assert seen(both) == {
        f"{tmp_path}/x/a.png": ["dog", "cat"],
        f"{tmp_path}/y/b.png": ["dog"],
    }
    assert [image.known_labels for image in both.images] == [{0, 1}, {1, 2}]
    assert [image.id for image in both.images] == [1, 2]
    assert [o.id for image in both.images for o in image.objects] == [1, 2, 3]
    assert both.description == "pets; people" and both.sha256 not in (pets.sha256, people.sha256)


def test_of_an_image_in_two_files_each_class_comes_from_the_first_that_has_it(tmp_path):
    names = {1: "a.png", 2: "b.png"}
    pets = write_boxes(tmp_path, "pets", ["cat", "dog"], names, [(1, "dog")])
    more = write_boxes(tmp_path, "more", ["dog", "person"], names, [(1, "dog"), (1, "person")])
    both = merged([(pets, tmp_path), (more, tmp_path)])
    assert seen(both) == {f"{tmp_path}/a.png": ["dog", "person"], f"{tmp_path}/b.png": []}
    assert all(image.known_labels is None for image in both.images)
    assert both.masks == (0, 2)


def test_images_are_found_under_other_names_as_in_one_file(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    first = write_boxes(tmp_path, "first", ["cat"], {1: "train2017/a.png"}, [])
    second = write_boxes(tmp_path, "second", ["cat"], {1: r"C:\photos\a.png"}, [])
    both = merged([(first, tmp_path / "x"), (second, tmp_path / "y")])
    assert both.files(Path()) == [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"]


def test_coco_classes_keep_cocos_ids(tmp_path):
    first = write_boxes(tmp_path, "first", ["person"], {1: "a.png"}, [])
    second = write_boxes(tmp_path, "second", ["toothbrush"], {1: "b.png"}, [])
    assert merged([(first, tmp_path), (second, tmp_path)]).category_ids == (1, 90)


def test_annotations_by_other_classes_know_what_they_knew(tmp_path):
    pets = write_boxes(tmp_path, "pets", ["cat", "dog"], {1: "a.png"}, [(1, "dog"), (1, "cat")])
    turned = with_classes(pets, ("dog", "person"))
    assert seen(turned) == {"a.png": ["dog"]}
    assert turned.images[0].known_labels == {0}
    assert with_classes(pets, ("dog", "cat")).images[0].known_labels is None


def test_a_file_joined_with_itself_says_nothing_new(tmp_path):
    path, images = write_squares(tmp_path)
    squares = read_annotations(path)
    both = merged([(squares, images), (squares, images)])
    assert len(both.images) == len(squares.images)
    assert both.masks == squares.masks
