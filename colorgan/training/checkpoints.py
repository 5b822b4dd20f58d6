"""A training's checkpoints in storage.

<folder>/checkpoints/epoch-<epoch>-<lineage>-<writer>/…   the files of one checkpoint
<folder>/checkpoints/latest.json                          names the newest; written after it

A process that was cut off from the others, and goes on where they were, must do no harm. So no
process writes into another's checkpoint, and each deletes only what is older than its own. Which
checkpoint is the newest is seen from those that are whole, not from the last writer's word, so it
needs no conditional write of the storage. The pointer is there for listings that lack a checkpoint:
one that was written or deleted while the storage was being listed.
"""

import json
import re
import secrets

from colorgan.errors import NotInStorage
from colorgan.storage import Storage
from colorgan.training.loop import Training
from colorgan.training.states import STATE, TENSORS, Snapshot

# The first checkpoints had no lineage and no writer.
_NAME = re.compile(r"epoch-(?P<epoch>\d+)(?:-(?P<lineage>\d+)-[0-9a-f]+)?")


class Checkpoints:
    """A training's checkpoints as objects in storage; only the last one is kept."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Keep them under `folder`/checkpoints."""
        self._storage = storage
        self._folder = f"{folder}/checkpoints"
        self._pointer = f"{self._folder}/latest.json"
        self._writer = secrets.token_hex(4)
        self._lineage = 0

    def restore(self, training: Training, inherit: bool = False) -> None:
        """Load the newest checkpoint, if there is one; see `Training.load`.

        Raises:
            NotInStorage: the newest, by the pointer, has lost a file.
        """
        name, files = self._read()
        if name:
            training.load(files, inherit)
            self._lineage, _ = _age(name)

    def files(self) -> dict[str, bytes]:
        """The files of the newest checkpoint; none where there is none. Raises as `restore`."""
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
                    raise  # not replaced by another training's process, but damaged
        return "", {}

    def last(self) -> int:
        """The epoch of the newest checkpoint; 0 where there is none."""
        name = self._newest_there()
        return _age(name)[1] if name else 0

    def begin_lineage(self) -> None:
        """Let what is saved from now on be newer than all that there is, whatever its epoch.

        That is so of a training which has taken over another's state, for it may have done fewer
        epochs.
        """
        name = self._newest_there()
        self._lineage = _age(name)[0] + 1 if name else 0

    def save(self, snapshot: Snapshot) -> None:
        """Write the checkpoint, then the pointer, then delete what is older.

        Where there is a newer checkpoint, of another process, that and the pointer stay.
        """
        name = f"epoch-{snapshot.epoch:05d}-{self._lineage}-{self._writer}"
        for file, data in snapshot.files().items():
            self._storage.put(f"{self._folder}/{name}/{file}", data)
        # Again, until it is right: two processes may write it in the wrong order.
        while (newest := self._newest(name)) != self._pointed():
            self._storage.put(self._pointer, json.dumps({"name": newest}).encode())
        for other in self._storage.folders(self._folder):
            if _NAME.fullmatch(other) and _age(other) < _age(name):
                self._storage.delete(f"{self._folder}/{other}")

    def _newest(self, besides: str = "") -> str:
        """The name of the newest checkpoint; empty where there is none.

        The pointer is read first: where the listing comes between a checkpoint's end and its
        successor's beginning, the pointer still names the one that is gone, and who cannot read it
        looks again.
        """
        names = {besides, self._pointed()} | self._whole()
        return max(names - {""}, key=lambda name: (*_age(name), name), default="")

    def _newest_there(self) -> str:
        """The newest checkpoint, looked for again where it is gone by the time that it is found."""
        name = self._newest()
        while name and not self._storage.exists(f"{self._folder}/{name}/{STATE}"):
            before, name = name, self._newest()
            if name == before:  # it is damaged, which `restore` says
                break
        return name

    def _whole(self) -> set[str]:
        files: dict[str, set[str]] = {}
        for key in self._storage.list(self._folder):
            name, _, file = key.removeprefix(f"{self._folder}/").partition("/")
            files.setdefault(name, set()).add(file)
        return {n for n, there in files.items() if {STATE, TENSORS} <= there and _NAME.fullmatch(n)}

    def _pointed(self) -> str:
        """What the pointer names; empty where it is absent or cannot be read."""
        try:
            name = str(json.loads(self._storage.get(self._pointer))["name"])
        except (NotInStorage, ValueError, TypeError, KeyError):
            return ""
        return name if _NAME.fullmatch(name) else ""


def _age(name: str) -> tuple[int, int]:
    """Of two checkpoints the greater is the newer: by lineage, then by epoch."""
    found = _NAME.fullmatch(name)
    assert found
    return int(found["lineage"] or 0), int(found["epoch"])
