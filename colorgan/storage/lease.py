"""Leases: of all processes that share a storage, one at a time works on a thing.

    leases/<thing>/<number>.json    who works on it, and when it last said so
    leases/<thing>/<number>.stop    a request to stop, made by somebody else

A thing is a folder of the storage, such as runs/monday. Its lease is the file with the highest
number. A process takes the lease over by creating the next number, which exactly one of several can
do (`Storage.create`), and only if the owner has died: its process provably, if it was on this
machine, or else because it has not renewed its lease for a minute. A process that was wrongly
believed dead finds the higher number when it renews its own, and stops. Clocks of different
machines are never trusted alone: a foreign owner is watched for two renewals.

On a server whose conditional writes are not atomic, such as OpenStack Swift, two processes may
create the same number: each is told that it has succeeded, and the later write stays. A new owner
of a lease in such a storage therefore waits three times as long as its own write has taken before
it reads the lease again, and `Lease.confirm` reads it once more before the first result is written.
It is then read every two seconds for a minute. What remains is a rival whose write takes longer
than all that: for up to two seconds (or ten, after the first minute) both work. They do not damage
each other's results: checkpoints are written under names of their own, and a package has a version
of its own. Servers that implement `If-None-Match` atomically, such as S3 itself and MinIO, and
local folders are not concerned.
"""

import _thread
import json
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten

from colorgan.errors import ColorganError, Held, NotInStorage
from colorgan.processes import ProcessIdentity, this_process
from colorgan.storage.documents import read_document
from colorgan.storage.interface import Storage, checked_folder

RENEWAL_S = 10.0  # interval at which an owner renews its lease
SILENCE_S = 60.0  # an owner elsewhere that has not renewed its lease for so long is presumed dead
STOP_POLL_S = 2.0  # interval at which an owner looks for a request to stop
_POLL_S = 1.0
_SETTLING, _SETTLING_S = 3.0, 10.0  # times the duration of the own write, and at most so long
_YOUNG_S = 60.0  # for so long, a new owner looks for a rival at every poll
_FOLDER = "leases"
_SCHEMA, _OLDEST = 2, 1  # the second one has `waits_for`
_COMMAND, _SHOWN = 500, 60  # characters of the owner's command that are kept, and shown


@dataclass(frozen=True)
class Work:
    """How far the owner of a lease is.

    Attributes:
        unit: what is counted, in the plural.
        done: the number of units done.
        total: the number of units in all.
        began: the number of units done when this owner began.
    """

    unit: str
    done: int
    total: int
    began: int = 0

    def seconds_left(self, seconds: float) -> float | None:
        """The estimated time to the end, if the work has taken so many seconds so far."""
        if self.done <= self.began:
            return None
        return seconds / (self.done - self.began) * max(0, self.total - self.done)


@dataclass(frozen=True)
class LeaseRecord:
    """A lease as its owner wrote it.

    Attributes:
        thing: the folder that the owner works on.
        number: the lease's number.
        host: the name of the owner's machine.
        process: the owner's process.
        command: the owner's command.
        job: the name under which a cluster knows the owner, or empty.
        since: when it took the lease, in seconds since the Unix epoch.
        renewed: when it last renewed the lease, likewise.
        renewals: how often it has renewed the lease.
        work: how far it is; None if it has not said so.
        waits_for: what it waits for, as "1 CPU"; empty while it works.
    """

    thing: str
    number: int
    host: str
    process: ProcessIdentity
    command: str
    job: str
    since: float
    renewed: float
    renewals: int = 0
    work: Work | None = None
    waits_for: str = ""

    @property
    def owner(self) -> str:
        """The owner in words."""
        process = f"process {self.process.pid} on {self.host}"
        if self.job:
            return f"job {self.job} ({process})"
        return f"{process} ({shorten(self.command, _SHOWN, placeholder=' …')})"

    def presumed_dead(self) -> bool:
        """Whether the owner has provably died or not renewed its lease for a minute."""
        if self.process.is_alive():
            return False
        return self.process.is_dead() or time.time() - self.renewed > SILENCE_S


class Lease:
    """A lease that this process holds, and renews in a thread of its own."""

    def __init__(self, storage: Storage, record: LeaseRecord) -> None:
        """Take the record of the lease, as it stands in storage."""
        self.lost = False
        self._storage, self._record = storage, record
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def thing(self) -> str:
        """The folder that the lease is for."""
        return self._record.thing

    def report(self, unit: str, done: int, total: int) -> None:
        """Say how far the work is; others see it after the next renewal."""
        with self._lock:
            known = self._record.work
            began = known.began if known and known.unit == unit else done
            self._record = replace(self._record, work=Work(unit, done, total, began))

    def wait_for(self, what: str) -> None:
        """Say what the owner waits for, as "1 CPU"; empty once it works again."""
        with self._lock:
            self._record = replace(self._record, waits_for=what)

    def confirm(self) -> None:
        """Check that this process still holds the lease; raises Held if another one does."""
        if self.lost or not self._is_mine():
            self.lost = True
            raise Held(f"{self.thing}: another process works on it")

    def release(self) -> None:
        """Give the lease back, unless another process has taken it."""
        self._ended.set()
        self._thread.join(timeout=RENEWAL_S)
        _held.pop(self.thing, None)
        with suppress(ColorganError):  # it is then taken over from a dead process
            if not self.lost and self._is_mine():
                self._storage.delete(f"{_FOLDER}/{self.thing}")

    def _is_mine(self) -> bool:
        """Whether this process still holds the lease.

        On a server whose conditional writes are not atomic, a process that was stopped in the
        middle of `Storage.create` may have overwritten the record: the last writer holds the lease.
        """
        key = _key(self.thing, self._record.number)
        if self._storage.exists(_key(self.thing, self._record.number + 1)):
            return False
        with suppress(NotInStorage):
            return _read(self._storage, key).process == self._record.process
        return True

    def _renew(self) -> None:
        due = time.monotonic() + RENEWAL_S
        young = time.monotonic() + _YOUNG_S
        while not self._ended.wait(min(RENEWAL_S, STOP_POLL_S)):
            with suppress(ColorganError):  # the storage does not answer: try again
                if self._storage.exists(_stop_key(self.thing, self._record.number)):
                    self._storage.delete(_stop_key(self.thing, self._record.number))
                    _interrupt_main()
                renews = time.monotonic() >= due
                if not renews and time.monotonic() > young:
                    continue
                if not self._is_mine():
                    self.lost = True
                    print(
                        f"{self.thing}: another process works on it, because this one was "
                        "believed dead; stopping",
                        file=sys.stderr,
                        flush=True,
                    )
                    _interrupt_main()
                    return
                if not renews:
                    continue
                due = time.monotonic() + RENEWAL_S
                with self._lock:
                    self._record = replace(
                        self._record, renewed=time.time(), renewals=self._record.renewals + 1
                    )
                    record = self._record
                if not self._ended.is_set():
                    self._storage.put(_key(self.thing, record.number), _encoded(record))


_held: dict[str, Lease] = {}  # the leases of this process, by thing


@contextmanager
def hold(
    storage: Storage,
    thing: str,
    words: str,
    way_out: str,
    job: str = "",
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Iterator[Lease]:
    """Hold the lease of a thing for the duration of a `with` block.

    If another process asks this one to stop, the main thread gets a signal, as from Ctrl-C.

    Args:
        storage: the storage that the thing is in.
        thing: the folder that this process will work on.
        words: the thing in words, as "run 'monday'".
        way_out: what a user can do while another process works on it.
        job: the name under which a cluster knows this process.
        say: prints a line about a previous owner.

    Raises:
        Held: another process works on it.
    """
    lease = _acquire(storage, thing, words, way_out, job, say)
    _held[thing] = lease
    try:
        yield lease
    finally:
        lease.release()


def release_all() -> None:
    """Give back every lease of this process, before it ends without unwinding."""
    for lease in list(_held.values()):
        lease.release()


def find_lease(storage: Storage, thing: str) -> LeaseRecord | None:
    """The lease of a thing, whether or not its owner is alive; None if there is none."""
    numbers = _numbers(storage, thing)
    # A listing may lag behind.
    while storage.exists(_key(thing, (numbers[-1] if numbers else 0) + 1)):
        numbers.append((numbers[-1] if numbers else 0) + 1)
    for number in reversed(numbers):
        with suppress(NotInStorage):
            return _read(storage, _key(thing, number))
    return None


def list_leases(storage: Storage) -> list[LeaseRecord]:
    """The leases of all things, oldest first, whether or not their owners are alive."""
    latest: dict[str, LeaseRecord] = {}
    for key in storage.list(_FOLDER):
        if key.endswith(".json"):
            with suppress(ColorganError):
                record = _read(storage, key)
                known = latest.get(record.thing)
                if known is None or known.number < record.number:
                    latest[record.thing] = record
    return sorted(latest.values(), key=lambda record: record.since)


def stop_is_heard(storage: Storage, record: LeaseRecord) -> bool:
    """Whether the owner of a lease has heard the request to stop."""
    return not storage.exists(_stop_key(record.thing, record.number))


def request_stop(storage: Storage, record: LeaseRecord) -> None:
    """Ask the owner of a lease to stop; it hears that when it renews the lease."""
    storage.put(_stop_key(record.thing, record.number), b"stop\n")


def _acquire(
    storage: Storage,
    thing: str,
    words: str,
    way_out: str,
    job: str,
    say: Callable[[str], None],
) -> Lease:
    while True:
        previous = find_lease(storage, thing)
        if previous:
            _outwait(storage, previous, words, way_out, say)
        now = time.time()
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_COMMAND]
        record = LeaseRecord(
            thing=thing,
            number=previous.number + 1 if previous else 1,
            host=platform.node(),
            process=this_process(),
            command=command,
            job=job,
            since=now,
            renewed=now,
        )
        began = time.monotonic()
        if not storage.create(_key(thing, record.number), _encoded(record)):
            continue  # another process was faster, and is seen now
        if storage.remote:  # a rival that was not refused may still be writing
            time.sleep(min(_SETTLING_S, _SETTLING * (time.monotonic() - began)))
        latest = find_lease(storage, thing)
        if latest != record:
            if latest is None or latest.number != record.number:
                storage.delete(_key(thing, record.number))  # it was taken over from an older owner
            continue
        for number in _numbers(storage, thing):
            if number < record.number:
                storage.delete(_key(thing, number))
                storage.delete(_stop_key(thing, number))
        return Lease(storage, record)


def _outwait(
    storage: Storage,
    previous: LeaseRecord,
    words: str,
    way_out: str,
    say: Callable[[str], None],
) -> None:
    """Return once the owner of a lease is dead; raises Held as soon as it is known to be alive."""
    since = f"{datetime.fromtimestamp(previous.since, UTC):%d %b %H:%M:%S} UTC"
    held = Held(f"{words} is being worked on by {previous.owner}, since {since}: {way_out}")
    if previous.process.is_alive():
        raise held
    died = f"{words}: {previous.owner}, which worked on it since {since}, has died; continuing"
    if previous.process.is_dead():
        say(died)
        return
    # The age is that by this machine's clock, which may differ from the owner's.
    age = max(0.0, time.time() - previous.renewed)
    patience = max(2 * RENEWAL_S, SILENCE_S - age)
    say(
        f"{words} was being worked on by {previous.owner}, heard of {age:.0f} s ago; waiting up to "
        f"{patience:.0f} s for a sign of life"
    )
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        latest = find_lease(storage, previous.thing)
        if latest is None or latest.number != previous.number:
            return  # its owner has ended, or another process has taken the lease over
        if latest.renewals != previous.renewals:
            raise held
    say(died)


def _interrupt_main() -> None:
    """Interrupt the main thread with a signal that ends this program cleanly."""
    handled = [s for s in (signal.SIGTERM, signal.SIGINT) if callable(signal.getsignal(s))]
    main = threading.main_thread().ident
    wanted = handled[0] if handled else signal.SIGTERM
    if not hasattr(signal, "pthread_kill"):
        _thread.interrupt_main(wanted)
    elif main is not None:
        signal.pthread_kill(main, wanted)


def _numbers(storage: Storage, thing: str) -> list[int]:
    names = [key.rsplit("/", 1)[1] for key in storage.list(f"{_FOLDER}/{thing}")]
    return sorted(int(name[:-5]) for name in names if name[:-5].isdigit() and name[-5:] == ".json")


def _key(thing: str, number: int) -> str:
    return f"{_FOLDER}/{checked_folder(thing)}{number:06d}.json"


def _stop_key(thing: str, number: int) -> str:
    return f"{_FOLDER}/{checked_folder(thing)}{number:06d}.stop"


def _encoded(record: LeaseRecord) -> bytes:
    return (json.dumps({"schema_version": _SCHEMA, **asdict(record)}, indent=2) + "\n").encode()


def _read(storage: Storage, key: str) -> LeaseRecord:
    return read_document(storage.get(key), key, _SCHEMA, _record_of, _OLDEST)


def _record_of(fields: dict[str, object]) -> LeaseRecord:
    del fields["schema_version"]
    process: dict[str, object] = fields.pop("process")  # type: ignore[assignment]
    work: dict[str, object] | None = fields.pop("work")  # type: ignore[assignment]
    return LeaseRecord(
        process=ProcessIdentity(**process),  # type: ignore[arg-type]
        work=Work(**work) if work else None,  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )
