"""A training's checkpoints in storage."""

import json

from colorgan.errors import NotInStorage
from colorgan.storage import Storage
from colorgan.training import STATE, TENSORS, Snapshot, Training

_EPOCH = "epoch-"


class Checkpoints:
    """A training's checkpoints as objects in storage; only the last one is kept.

    A pointer names it, and is written when the checkpoint is whole.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        """Keep them under `folder`/checkpoints."""
        self._storage = storage
        self._folder = f"{folder}/checkpoints"
        self._pointer = f"{self._folder}/latest.json"

    def restore(self, training: Training, inherit: bool = False) -> None:
        """Load the checkpoint that the pointer names, if there is one; see `Training.load`."""
        name = self._latest()
        while name:
            try:
                folder = f"{self._folder}/{name}"
                files = {file: self._storage.get(f"{folder}/{file}") for file in (STATE, TENSORS)}
                training.load(files, inherit)
                return
            except NotInStorage:
                before, name = name, self._latest()
                if name == before:
                    raise  # not replaced by another training's process, but damaged

    def last(self) -> int:
        """The epoch of the last checkpoint; 0 where there is none."""
        name = self._latest()
        return int(name.removeprefix(_EPOCH)) if name else 0

    def _latest(self) -> str:
        if not self._storage.exists(self._pointer):
            return ""
        name: str = json.loads(self._storage.get(self._pointer))["name"]
        return name

    def save(self, snapshot: Snapshot) -> None:
        """Write the checkpoint, then the pointer, then delete what went before."""
        name = f"{_EPOCH}{snapshot.epoch:05d}"
        for file, data in snapshot.files().items():
            self._storage.put(f"{self._folder}/{name}/{file}", data)
        self._storage.put(self._pointer, json.dumps({"name": name}).encode())
        for old in self._storage.folders(self._folder):
            if old != name:
                self._storage.delete(f"{self._folder}/{old}")
