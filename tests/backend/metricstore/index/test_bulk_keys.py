import numpy as np

from cc_backend.metricstore.index.bulk_keys import BulkKeys, KeyDictionary
from cc_backend.metricstore.index.layout import HostLayout, MetricNames, PartTable
from cc_backend.metricstore.model import HostPart, Identity, Int64Array, MetricSpec

CORES = [HostPart("core", str(number)) for number in range(3)]
FAR = 1000


def names_of(*kinds: tuple[str, HostPart]) -> KeyDictionary:
    names = KeyDictionary()
    names.hosts.append(("demo", "n1"))
    names.kinds.extend(kinds)
    return names


def ids(*numbers: int) -> Int64Array:
    return np.array(numbers, np.int64)


class Tables:
    def __init__(self) -> None:
        self.layout, self.metrics, self.parts = HostLayout(), MetricNames(), PartTable()

    def take(self, metric: str, part: HostPart) -> None:
        self.layout.acquire(metric, part, below=FAR)
        self.metrics.intern(metric)
        self.parts.acquire(part)

    def leave(self, metric: str, part: HostPart) -> None:
        self.layout.release(metric, part)
        self.parts.release(self.parts.number_of(part))

    def look_up(self, names: KeyDictionary, *kinds: int) -> list[list[int]]:
        return names.layout_columns(ids(*kinds), self.layout, self.metrics, self.parts).tolist()


def test_a_kind_has_the_place_and_the_numbers_of_its_metric_and_part() -> None:
    tables = Tables()
    for metric, part in (("load", CORES[0]), ("power", CORES[1]), ("load", CORES[1])):
        tables.take(metric, part)
    names = names_of(("load", CORES[1]), ("load", CORES[0]), ("load", CORES[2]))
    assert tables.look_up(names, 0, 2, 1, 0) == [[2, -1, 0, 2], [0, -1, 0, 0], [1, -1, 0, 1]]
    assert tables.look_up(names) == [[], [], []]


def test_what_had_no_place_is_looked_for_again() -> None:
    tables = Tables()
    names = names_of(("load", CORES[0]))
    assert tables.look_up(names, 0) == [[-1], [-1], [-1]]
    tables.take("load", CORES[0])
    names.kinds.append(("load", CORES[1]))
    assert tables.look_up(names, 0, 1) == [[0, -1], [0, -1], [0, -1]]


def test_places_and_numbers_that_were_given_to_others_are_not_believed() -> None:
    tables = Tables()
    names = names_of(("load", CORES[0]), ("load", CORES[1]))
    tables.take("load", CORES[0])
    assert tables.look_up(names, 0, 1) == [[0, -1], [0, -1], [0, -1]]
    tables.leave("load", CORES[0])
    tables.take("load", CORES[1])
    assert tables.look_up(names, 0, 1) == [[-1, 0], [-1, 0], [-1, 0]]


def test_layouts_are_told_apart() -> None:
    first, second = Tables(), Tables()
    names = names_of(("load", CORES[0]))
    first.take("load", CORES[0])
    assert first.look_up(names, 0)[0] == [0]
    assert second.look_up(names, 0)[0] == [-1]


def test_timesteps_are_those_of_the_subcluster() -> None:
    names = names_of(("load", HostPart()), ("gone", HostPart()))
    slow, quick = {"load": MetricSpec(60)}, {"load": MetricSpec(10), "power": MetricSpec(5)}
    assert names.timesteps_s(ids(1, 0, 0), slow).tolist() == [0, 60, 60]
    names.kinds.append(("power", CORES[1]))
    assert names.timesteps_s(ids(2, 1, 0), quick).tolist() == [5, 0, 10]
    assert names.timesteps_s(ids(2, 1, 0), slow).tolist() == [0, 0, 60]


def test_keys_of_several_pieces_are_one_after_the_other() -> None:
    names = names_of(("load", HostPart()), ("power", CORES[1]))
    pieces = [
        BulkKeys(names, ids(0), ids(1)),
        BulkKeys(names, ids(), ids()),
        BulkKeys(names, ids(-1), ids(-1)),
    ]
    keys = BulkKeys.concatenate([*pieces, BulkKeys(names, ids(0), ids(0))])
    assert len(keys) == 3
    assert keys.kinds.tolist() == [1, -1, 0]
    assert keys.identities(ids(2, 0)) == [Identity("demo", "n1", "load"), Identity("demo", "n1", "power", CORES[1])]
