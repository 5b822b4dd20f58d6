"""Rounds of population-based training (Jaderberg et al. 2017), as they stand in storage.

runs/<sweep>/population/epoch-<epoch>.json    see Round

All trials wait for each other after the same epoch. Then each of the weakest takes over the
networks and optimisers of one of the strongest, and continues with other values. A round is stored
before it is carried out, and no trial trains until it has been, so that a job that died in between
carries out the rest of it when it continues.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from safetensors.torch import load

from colorgan.storage import Storage
from colorgan.storage.documents import read_document
from colorgan.sweeps.documents import (
    SCHEMA_VERSION,
    Sweep,
    Takeover,
    read_history,
    read_state,
    write_state,
)
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.records import EpochRecord
from colorgan.training.states import STATE, TENSORS, Snapshot


@dataclass(frozen=True)
class Decision:
    """A trial of a round that takes over another one's state, and its values from then on."""

    trial: str
    donor: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Round:
    """What was decided when all trials had done so many epochs.

    Attributes:
        epoch: the number of epochs done.
        scores: the metric by trial, of the trials that have one.
        decisions: the trials that take over another one's state.
    """

    epoch: int
    scores: Mapping[str, float] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


def carry_out(storage: Storage, sweep: Sweep, decided: Round) -> None:
    """Store a round, then carry out its decisions; a round of before is completed."""
    document = {**asdict(decided), "schema_version": SCHEMA_VERSION}
    key = sweep.key("population", f"epoch-{decided.epoch:05d}.json")
    storage.put(key, (json.dumps(document, indent=2) + "\n").encode())
    for decision in decided.decisions:
        state = read_state(storage, sweep, decision.trial)
        if any(each.epoch == decided.epoch for each in state.takeovers):
            continue
        _copy_checkpoint(storage, sweep, decision)
        takeover = Takeover(
            epoch=decided.epoch,
            donor=decision.donor,
            before=state.values,
            values=decision.values,
            own=decided.scores.get(decision.trial),
            donors=decided.scores.get(decision.donor),
        )
        taken = replace(state, values=decision.values, takeovers=(*state.takeovers, takeover))
        write_state(storage, sweep, decision.trial, taken)


def last_round(storage: Storage, sweep: Sweep) -> Round:
    """The latest round of a sweep; one of epoch 0 if there is none. Raises Corrupt."""
    keys = sorted(storage.list(sweep.key("population")))
    if not keys:
        return Round(0)

    def build(fields: dict[str, Any]) -> Round:
        del fields["schema_version"]
        decisions = tuple(Decision(**each) for each in fields["decisions"])
        return Round(**{**fields, "decisions": decisions})

    return read_document(storage.get(keys[-1]), keys[-1], SCHEMA_VERSION, build)


def weights_history(
    storage: Storage, sweep: Sweep, trial: str, epoch: int
) -> tuple[EpochRecord, ...]:
    """The records of the epochs that led to a trial's weights after an epoch.

    They are the donor's until the trial took over its state, and the trial's own since.
    """
    own = [each for each in read_history(storage, sweep, trial).epochs if each.epoch <= epoch]
    takeovers = read_state(storage, sweep, trial).takeovers
    earlier = [each for each in takeovers if each.epoch < epoch]
    if not earlier:
        return tuple(own)
    last = earlier[-1]
    inherited = weights_history(storage, sweep, last.donor, last.epoch)
    return (*inherited, *(each for each in own if each.epoch > last.epoch))


def _copy_checkpoint(storage: Storage, sweep: Sweep, decision: Decision) -> None:
    """Write the donor's newest checkpoint as the newest one of the trial."""
    donor, own = (
        Checkpoints(storage, sweep.key("trials", name)) for name in (decision.donor, decision.trial)
    )
    files = donor.files()
    snapshot = Snapshot(donor.last(), load(files[TENSORS]), json.loads(files[STATE]))
    own.begin_lineage()
    own.save(snapshot)
