from cc_backend.metricstore.disk.rhythm import Rhythm


def test_a_snapshot_is_due_after_each_interval() -> None:
    rhythm = Rhythm(1800, 100)
    assert not rhythm.is_due(1899)
    assert rhythm.is_due(1900)
    rhythm.done(1950, well=True)
    assert not rhythm.is_due(1950 + 1799)
    assert rhythm.is_due(1950 + 1800)


def test_one_that_failed_is_tried_again_soon() -> None:
    rhythm = Rhythm(1800, 0)
    rhythm.done(1800, well=False)
    assert not rhythm.is_due(1859)
    assert rhythm.is_due(1860)


def test_but_no_later_than_the_next_one() -> None:
    rhythm = Rhythm(10, 0)
    rhythm.done(10, well=False)
    assert rhythm.is_due(20)
