from tollway.providers.breaker import Breaker


def _fail_the_probe(breaker: Breaker, now: float) -> None:
    assert breaker.enter()
    breaker.failed(now, probe=True)


def test_pauses_double_to_a_minute_and_begin_anew_once_it_answers() -> None:
    breaker, now = Breaker(1), 1000.0
    breaker.failed(now, probe=False)
    assert 4 <= breaker.pause_left(now) <= 6
    for least, most in ((8, 12), (16, 24), (32, 48), (48, 72), (48, 72)):
        now += 100
        _fail_the_probe(breaker, now)
        assert least <= breaker.pause_left(now) <= most
    now += 100
    assert breaker.enter()
    breaker.answering(probe=True)
    assert breaker.admits(now)
    breaker.failed(now, probe=False)
    assert 4 <= breaker.pause_left(now) <= 6
