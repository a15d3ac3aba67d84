from sipmask_core.imaging.left_out import NAMED, LeftOut


def test_the_first_images_are_named_with_the_reason_and_the_others_counted():
    left_out = LeftOut("/camera")
    assert left_out.sentences() == []
    for number in range(NAMED):
        left_out.note(number, "It is torn.")
    assert len(left_out.sentences()) == left_out.count == NAMED
    assert left_out.sentences()[0] == "Image 0 of /camera was left out. It is torn."
    for others, sentence in (
        (1, "1 more image of /camera was left out."),
        (2, "2 more images of /camera were left out."),
    ):
        left_out.note("x", "It is torn.")
        assert left_out.count == NAMED + others
        assert left_out.sentences()[NAMED:] == [sentence]
