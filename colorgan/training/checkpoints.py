"""The checkpoints of a training in storage.

<folder>/checkpoints/epoch-<epoch>[.<step>]-<lineage>-<writer>/…   the files of one checkpoint
<folder>/checkpoints/latest.json                                   names the newest, written last

The epoch is the number of epochs done, and the step that of the steps done in the next one.

A process that was cut off from the others and then continues must do no harm. Therefore no process
writes into another's checkpoint, and each deletes only checkpoints older than its own. The newest
checkpoint is the newest complete one, whoever wrote last, so storage needs no conditional writes.
The pointer is needed where a listing lacks a checkpoint because it was written or deleted while
storage was being listed.
"""

import json
import re
import secrets

from colorgan.errors import NotInStorage
from colorgan.storage import Storage
from colorgan.training.loop import Training
from colorgan.training.states import STATE, TENSORS, Snapshot

# The names of the earliest checkpoints have no lineage and no writer.
_NAME = re.compile(r"epoch-(?P<epoch>\d+)(?:\.(?P<step>\d+))?(?:-(?P<lineage>\d+)-[0-9a-f]+)?")


class Checkpoints:
    """Reads and writes the checkpoints of one training; only the newest is kept."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Use the folder `folder`/checkpoints."""
        self._storage = storage
        self._folder = f"{folder}/checkpoints"
        self._pointer = f"{self._folder}/latest.json"
        self._writer = secrets.token_hex(4)
        self._lineage = 0

    def restore(self, training: Training, inherit: bool = False) -> None:
        """Load the newest checkpoint into a training, if there is one; see `Training.load`.

        Raises:
            NotInStorage: a file of the checkpoint that the pointer names is missing.
        """
        name, files = self._read()
        if name:
            training.load(files, inherit)
            self._lineage = _age(name)[0]

    def files(self) -> dict[str, bytes]:
        """The files of the newest checkpoint, empty if there is none; raises as `restore`."""
        return self._read()[1]

    def _read(self) -> tuple[str, dict[str, bytes]]:
        name = self._newest()
        while name:
            try:
                folder = f"{self._folder}/{name}"
                return name, {
                    file: self._storage.get(f"{folder}/{file}") for file in (STATE, TENSORS)
                }
            except NotInStorage:
                before, name = name, self._newest()
                if name == before:
                    raise  # it is damaged, not replaced by another process
        return "", {}

    def last(self) -> int:
        """The number of epochs done at the newest checkpoint; 0 if there is none."""
        return self.position()[0]

    def position(self) -> tuple[int, int]:
        """The epochs and the steps of the next one done at the newest checkpoint, 0 if none is."""
        name = self._newest_there()
        return _age(name)[1:] if name else (0, 0)

    def begin_lineage(self) -> None:
        """Make checkpoints saved from now on newer than all existing ones, whatever their epochs.

        A training that takes over another's state needs this, because it may have done fewer
        epochs.
        """
        name = self._newest_there()
        self._lineage = _age(name)[0] + 1 if name else 0

    def save(self, snapshot: Snapshot) -> None:
        """Write the checkpoint, then the pointer, then delete older checkpoints.

        A newer checkpoint of another process stays, and so does the pointer to it.
        """
        step = f".{snapshot.step:05d}" if snapshot.step else ""
        name = f"epoch-{snapshot.epoch:05d}{step}-{self._lineage}-{self._writer}"
        for file, data in snapshot.files().items():
            self._storage.put(f"{self._folder}/{name}/{file}", data)
        # Repeated because two processes may write the pointer in the wrong order.
        while (newest := self._newest(name)) != self._pointed():
            self._storage.put(self._pointer, json.dumps({"name": newest}).encode())
        for other in self._storage.folders(self._folder):
            if _NAME.fullmatch(other) and _age(other) < _age(name):
                self._storage.delete(f"{self._folder}/{other}")

    def _newest(self, besides: str = "") -> str:
        """The name of the newest checkpoint; empty if there is none.

        The pointer is read before the listing. A listing can miss both a deleted checkpoint and
        its successor; the pointer then still names the deleted one, and a caller that cannot read
        it asks again.
        """
        names = {besides, self._pointed()} | self._whole()
        return max(names - {""}, key=lambda name: (*_age(name), name), default="")

    def _newest_there(self) -> str:
        """As `_newest`, but looked up again if the checkpoint was deleted in the meantime."""
        name = self._newest()
        while name and not self._storage.exists(f"{self._folder}/{name}/{STATE}"):
            before, name = name, self._newest()
            if name == before:  # it is damaged, and `restore` reports that
                break
        return name

    def _whole(self) -> set[str]:
        files: dict[str, set[str]] = {}
        for key in self._storage.list(self._folder):
            name, _, file = key.removeprefix(f"{self._folder}/").partition("/")
            files.setdefault(name, set()).add(file)
        return {n for n, there in files.items() if {STATE, TENSORS} <= there and _NAME.fullmatch(n)}

    def _pointed(self) -> str:
        """The checkpoint that the pointer names; empty if the pointer is absent or unreadable."""
        try:
            name = str(json.loads(self._storage.get(self._pointer))["name"])
        except (NotInStorage, ValueError, TypeError, KeyError):
            return ""
        return name if _NAME.fullmatch(name) else ""


def _age(name: str) -> tuple[int, int, int]:
    """Sort key of a checkpoint: lineage, epoch and step; the newer of two has the greater key."""
    found = _NAME.fullmatch(name)
    assert found
    return int(found["lineage"] or 0), int(found["epoch"]), int(found["step"] or 0)
