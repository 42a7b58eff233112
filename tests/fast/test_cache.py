import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from service.shapley import cache
from service.shapley.cache import BoundedCache


def test_a_thing_is_made_once_for_all_threads():
    """Those that come meanwhile wait for it."""
    made = []
    store = BoundedCache()

    def make():
        made.append(np.zeros(3))
        return made[-1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.get("key", make), range(32)))
    assert len(made) == 1
    assert all(one is made[0] for one in found)


def test_memory_is_bounded_and_what_was_used_last_stays(monkeypatch):
    """The thing that was not asked for longest goes first; one that is too large alone is kept
    while it is the last.
    """
    monkeypatch.setattr(cache, "MOST_BYTES", 100)
    made = []

    def get(key, size):
        return store.get(key, lambda: made.append(key) or np.zeros(size, dtype=np.uint8))

    store = BoundedCache()
    for key in "abacaba":
        get(key, 40)  # there is room for two
    assert made == ["a", "b", "c", "b"]
    assert get("large", 500) is get("large", 500)
    get("a", 40)
    get("large", 500)
    assert made == ["a", "b", "c", "b", "large", "a", "large"]


def test_nothing_of_it_is_pickled():
    """It is made again at first use."""
    store = BoundedCache()
    store.get("key", lambda: np.zeros(100_000))
    content = pickle.dumps(store)
    assert len(content) < 200
    assert (pickle.loads(content).get("key", lambda: np.ones(2)) == 1).all()
