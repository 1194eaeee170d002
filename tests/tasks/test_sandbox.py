import os
import threading
import time

from echorl.tasks import sandbox


def test_results_come_in_order() -> None:
    assert sandbox.call_each(abs, [(-1,), (-2,), (-3,)], timeout=5) == [1, 2, 3]
    assert sandbox.call_each(abs, [], timeout=5) == []


def test_errors_deaths_and_late_calls_give_none_and_the_pool_goes_on() -> None:
    start = time.monotonic()
    assert sandbox.call_each(abs, [("x",)], timeout=5) == [None]
    assert sandbox.call_each(os._exit, [(3,)], timeout=5) == [None]
    assert sandbox.call_each(time.sleep, [(60,)], timeout=0.3) == [None]
    assert sandbox.call_each(bytes, [(10**11,)], timeout=5) == [None]
    assert sandbox.call_each(abs, [(-1,)], timeout=5) == [1]
    assert time.monotonic() - start < 15


def test_any_thread_may_call() -> None:
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(sandbox.call_each(abs, [(-n,)], timeout=5)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[0], [1], [2], [3]]
