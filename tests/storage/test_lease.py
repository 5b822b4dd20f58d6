"""Leases: of several processes, one at a time works on a thing."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from colorgan.errors import Held
from colorgan.processes import ProcessIdentity, this_process
from colorgan.storage import Storage, lease, open_storage
from colorgan.storage.lease import Lease, find_lease, hold, list_leases, request_stop
from colorgan.storage.local import LocalStorage
from tests.lease_holder import MONDAY, Holder
from tests.races import race
from tests.racing_for_leases import take


@pytest.fixture(params=["local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder; a bucket takes the same steps, and is tested where processes race."""
    if request.param == "local":
        return open_storage(str(tmp_path / "storage"))
    request.getfixturevalue("credentials")
    return open_storage(f"s3://{request.getfixturevalue('bucket')}/prefix")


@pytest.fixture
def holder(storage: Storage) -> Iterator[Holder]:
    started = Holder(storage)
    yield started
    started.end()


def hold_monday(storage: Storage, lines: list[str] | None = None) -> Lease:
    said = lines if lines is not None else []
    with hold(storage, MONDAY, "run 'monday'", "wait until it ends", say=said.append) as held:
        return held


def stored(storage: Storage) -> list[str]:
    return storage.list("leases")


def test_a_lease_is_given_back_and_leaves_nothing(storage: Storage) -> None:
    with hold(storage, MONDAY, "run 'monday'", "wait") as held:
        held.report("epochs", 2, 8)
        assert stored(storage) == [f"leases/{MONDAY}/000001.json"]
    assert stored(storage) == []


def test_the_second_is_told_who_holds_it_and_since_when(storage: Storage, holder: Holder) -> None:
    with pytest.raises(Held) as refused:
        hold_monday(storage)
    words = str(refused.value)
    assert words.startswith(f"run 'monday' is being worked on by process {holder.process.pid} on ")
    assert ", since " in words and words.endswith("UTC: wait until it ends")


def test_a_killed_owner_is_followed_at_once(storage: Storage, holder: Holder) -> None:
    holder.process.kill()
    holder.process.wait()
    said: list[str] = []
    before = time.monotonic()
    hold_monday(storage, said)
    assert time.monotonic() - before < lease.RENEWAL_S
    (line,) = said
    assert f"process {holder.process.pid} on" in line and line.endswith("has died; continuing")


def test_a_process_with_the_number_of_the_dead_owner_is_not_its_owner(storage: Storage) -> None:
    with hold(storage, MONDAY, "run 'monday'", "wait"):
        record = json.loads(storage.get(f"leases/{MONDAY}/000001.json"))
        mine = this_process()
        record["process"]["started"] = mine.started - 1
        storage.put(f"leases/{MONDAY}/000001.json", json.dumps(record).encode())
        said: list[str] = []
        hold_monday(storage, said)
        assert said and "has died" in said[0]


def elsewhere(storage: Storage, age_s: float) -> None:
    """Make the lease one of a machine of which nothing is known here."""
    key = f"leases/{MONDAY}/000001.json"
    record = json.loads(storage.get(key))
    record["process"]["boot"] = "another"
    record["renewed"] -= age_s
    storage.put(key, json.dumps(record).encode())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_S", 0.1)
    monkeypatch.setattr(lease, "SILENCE_S", 0.3)
    monkeypatch.setattr(lease, "_POLL_S", 0.02)


@pytest.mark.parametrize("age_s", [0, 3600])
def test_an_owner_elsewhere_that_stays_silent_is_presumed_dead(
    storage: Storage, hasty: None, age_s: float
) -> None:
    storage.put(f"leases/{MONDAY}/000001.json", _record_of_this_process())
    elsewhere(storage, age_s)
    said: list[str] = []
    hold_monday(storage, said)
    assert "for a sign of life" in said[0] and said[1].endswith("has died; continuing")
    assert stored(storage) == []


@pytest.mark.parametrize("clock_s", [-3600, 3600])
def test_an_owner_elsewhere_that_renews_its_lease_keeps_it_whatever_its_clock_says(
    storage: Storage, hasty: None, monkeypatch: pytest.MonkeyPatch, clock_s: float
) -> None:
    storage.put(f"leases/{MONDAY}/000001.json", _record_of_this_process())
    elsewhere(storage, clock_s)
    sleep = time.sleep

    def sleep_while_the_owner_renews(seconds: float) -> None:
        key = f"leases/{MONDAY}/000001.json"
        record = json.loads(storage.get(key))
        storage.put(key, json.dumps({**record, "renewals": record["renewals"] + 1}).encode())
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_while_the_owner_renews)
    with pytest.raises(Held, match="run 'monday' is being worked on by process"):
        hold_monday(storage)


def _record_of_this_process() -> bytes:
    scratch = lease.LeaseRecord(
        MONDAY, 1, "node-3", this_process(), "train_all.py --run monday", "", time.time(), 0.0
    )
    return lease._encoded(replace(scratch, renewed=time.time()))


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["local", "s3"], indirect=True)
def test_of_several_that_find_a_dead_owner_one_takes_over(storage: Storage) -> None:
    rounds = 4
    for number in range(rounds):
        record = json.loads(_record_of_this_process())
        record["process"]["started"] -= 1
        record["thing"] = f"runs/{number}"
        storage.put(f"leases/runs/{number}/000001.json", json.dumps(record).encode())
    results = race(take, [(storage.uri, me) for me in ("a", "b", "c")], rounds)
    assert [len([me for me in each if me]) for each in results] == [1] * rounds
    assert [record.number for record in list_leases(storage)] == [2] * rounds


def test_an_owner_that_was_believed_dead_stops(storage: Storage, holder: Holder) -> None:
    key = f"leases/{MONDAY}/000001.json"
    storage.put(f"leases/{MONDAY}/000002.json", storage.get(key))
    assert holder.line() == "interrupted"
    assert holder.process.wait(30) == 0
    assert f"leases/{MONDAY}/000002.json" in stored(storage)


def test_of_two_owners_of_one_record_the_last_writer_stays(
    storage: Storage, holder: Holder
) -> None:
    key = f"leases/{MONDAY}/000001.json"
    record = json.loads(_record_of_this_process())
    deadline = time.monotonic() + 60
    while holder.process.poll() is None:
        storage.put(key, json.dumps(record).encode())
        assert time.monotonic() < deadline
    assert holder.line() == "interrupted"
    assert stored(storage) == [key]


def test_a_rival_whose_write_lands_later_is_seen_before_the_work_begins(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server that lets two conditional writes of one key succeed."""
    monkeypatch.setattr(LocalStorage, "remote", True)
    waited: list[float] = []

    def rival_writes(seconds: float) -> None:
        waited.append(seconds)
        storage.put(f"leases/{MONDAY}/000001.json", _record_of_this_process())

    monkeypatch.setattr(time, "sleep", rival_writes)
    with pytest.raises(Held, match="run 'monday' is being worked on by process"):
        hold_monday(storage)
    assert len(waited) == 1 and waited[0] > 0
    assert find_lease(storage, MONDAY) is not None, "the rival keeps it"


def test_an_owner_can_confirm_its_lease_before_it_writes(storage: Storage) -> None:
    with hold(storage, MONDAY, "run 'monday'", "wait") as held:
        held.confirm()
        storage.put(f"leases/{MONDAY}/000002.json", _record_of_this_process())
        with pytest.raises(Held, match="runs/monday: another process works on it"):
            held.confirm()
    assert f"leases/{MONDAY}/000002.json" in stored(storage)


def test_others_see_how_far_it_is_and_can_stop_it(storage: Storage, holder: Holder) -> None:
    deadline = time.monotonic() + 30
    while not ((record := find_lease(storage, MONDAY)) and record.work):
        assert time.monotonic() < deadline
    assert (record.work.unit, record.work.done, record.work.total) == ("epochs", 3, 9)
    assert [each.thing for each in list_leases(storage)] == [MONDAY]
    assert not record.presumed_dead()
    request_stop(storage, record)
    assert holder.line() == "interrupted"
    assert holder.process.wait(30) == 0
    assert stored(storage) == []


def test_a_process_is_known_by_more_than_its_number() -> None:
    mine = this_process()
    assert mine.is_alive() and not mine.is_dead()
    other = replace(mine, started=mine.started - 1)
    assert other.is_dead() and not other.is_alive()
    for elsewhere in (replace(mine, boot="b"), replace(mine, namespace=1)):
        assert not elsewhere.is_dead() and not elsewhere.is_alive()


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    child = os.fork()
    if not child:
        signal.pause()
    started = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[19]
    mine = this_process()
    identity = ProcessIdentity(mine.boot, mine.namespace, child, int(started))
    assert identity.is_alive()
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # leaves it a zombie
    assert identity.is_dead()
    os.waitpid(child, 0)
