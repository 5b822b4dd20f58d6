"""The order of the queue; tests/jobs/ has it on a real Ray."""

from dataclasses import replace

import pytest

from cluster.planning import NodeResources, fits
from cluster.queue import GpuQueue, Reservation

TWO_GPUS = [NodeResources(cpus=4, gpus=1), NodeResources(cpus=4, gpus=1)]


def place(submitted: float, run: str, model: str, number: int = 0, gpus: float = 1) -> Reservation:
    return Reservation(submitted, run, number, model, run, 1, gpus)


def test_who_comes_first_is_served_first_and_the_others_are_told_how_many_are_ahead() -> None:
    queue = GpuQueue()
    late = [place(2, "late", "animals")]
    early = [place(1, "early", "animals"), place(1, "early", "people", 1)]
    more = place(1, "early", "vehicles", 2)
    assert queue.ask("early", [], [*early, more], TWO_GPUS, 0) == {
        "animals": "",
        "people": "",
        "vehicles": "next in the queue; run early is training",
    }
    waits = queue.ask("late", [], late, TWO_GPUS, 0)["animals"]
    assert waits == "1 ahead; run early is training"
    # A place that is given back goes to the next of the line, whoever asks first.
    queue.ask("early", early[1:], [more], TWO_GPUS, 1)
    waits = queue.ask("late", [], late, TWO_GPUS, 1)["animals"]
    assert waits == "next in the queue; run early is training"
    queue.ask("early", [more], [], TWO_GPUS, 2)
    assert queue.ask("late", [], late, TWO_GPUS, 2)["animals"] == ""


def test_an_earlier_job_that_asks_later_goes_before_those_that_wait() -> None:
    queue = GpuQueue()
    holders = [place(1, "a", "animals"), place(1, "a", "people", 1)]
    queue.ask("a", holders, [], TWO_GPUS, 0)
    queue.ask("c", [], [place(3, "c", "animals")], TWO_GPUS, 0)
    queue.ask("b", [], [place(2, "b", "animals")], TWO_GPUS, 0)
    queue.ask("a", holders[1:], [], TWO_GPUS, 0)
    assert queue.ask("c", [], [place(3, "c", "animals")], TWO_GPUS, 0)["animals"] != ""
    assert queue.ask("b", [], [place(2, "b", "animals")], TWO_GPUS, 0)["animals"] == ""


def test_a_run_whose_job_was_killed_waits_for_no_other_run() -> None:
    queue = GpuQueue()
    nodes = TWO_GPUS[:1]
    killed = place(1, "a", "animals")
    queue.ask("killed", [replace(killed, job="killed")], [], nodes, 0)
    again = replace(killed, job="again", submitted=2)
    waits = "an earlier job of run a holds a place, which is released 30 s after its end"
    assert queue.ask("again", [], [again], nodes, 1) == {"animals": waits}
    assert queue.ask("again", [], [again], nodes, 31) == {"animals": ""}


def test_a_large_model_is_not_overtaken_by_small_ones() -> None:
    queue = GpuQueue()
    half, whole = place(1, "a", "animals", gpus=0.5), place(2, "b", "animals", gpus=1)
    nodes = TWO_GPUS[:1]
    queue.ask("a", [half], [], nodes, 0)
    waits = "next in the queue; run a is training"
    assert queue.ask("b", [], [whole], nodes, 0) == {"animals": waits}
    small = place(3, "c", "animals", gpus=0.5)
    assert queue.ask("c", [], [small], nodes, 0) == {"animals": "1 ahead; run a is training"}


def cpu_place(submitted: float, run: str, cpus: float = 1) -> Reservation:
    return Reservation(submitted, run, 0, "animals", run, cpus, 0)


@pytest.mark.parametrize(
    ("cpus", "granted"),
    # The GPU's next model will need one of the four CPUs, as the one that holds it does now.
    [(1, True), (3, True), (4, False)],
)
def test_a_cpu_job_does_not_wait_for_a_gpu_job_that_waits_unless_that_would_wait_longer(
    cpus: float, granted: bool
) -> None:
    queue = GpuQueue()
    nodes = TWO_GPUS[:1]
    queue.ask("a", [], [place(1, "a", "animals")], nodes, 0)
    assert queue.ask("b", [], [place(2, "b", "animals")], nodes, 0)["animals"]
    on_cpu = cpu_place(3, "c", cpus)
    answer = queue.ask("c", [], [on_cpu], nodes, 0)["animals"]
    assert answer == ("" if granted else "1 ahead; run a is training")
    held = [on_cpu] if granted else []
    queue.ask("a", [], [], nodes, 1)
    assert queue.ask("b", [], [place(2, "b", "animals")], nodes, 1)["animals"] == ""
    assert queue.ask("c", held, [] if granted else [on_cpu], nodes, 1).get("animals", "")[:3] == (
        "" if granted else "nex"
    )


def test_a_cpu_job_still_waits_for_a_cpu_job_before_it() -> None:
    queue = GpuQueue()
    nodes = [NodeResources(cpus=4, gpus=0)]
    queue.ask("a", [], [cpu_place(1, "a", 2)], nodes, 0)
    assert queue.ask("b", [], [cpu_place(2, "b", 4)], nodes, 0)["animals"]
    assert queue.ask("c", [], [cpu_place(3, "c", 1)], nodes, 0)["animals"]


def test_runs_of_two_storages_may_have_the_same_name() -> None:
    queue = GpuQueue()
    one, other = (
        Reservation(submitted, "r", 0, "animals", job, 1, 1)
        for submitted, job in ((1, "one"), (2, "other"))
    )
    nodes = TWO_GPUS[:1]
    assert queue.ask("one", [], [one], nodes, 0) == {"animals": ""}
    assert queue.ask("other", [], [other], nodes, 0)["animals"]
    assert queue.ask("one", [one], [], nodes, 1) == {}
    assert queue.ask("other", [], [other], nodes, 1)["animals"]


def test_the_places_of_a_job_that_died_are_free_again() -> None:
    queue = GpuQueue()
    one_gpu = TWO_GPUS[:1]
    queue.ask("dead", [], [place(1, "dead", "animals")], one_gpu, 0)
    assert queue.ask("b", [], [place(2, "b", "animals")], one_gpu, 29)["animals"]
    assert not queue.ask("b", [], [place(2, "b", "animals")], one_gpu, 31)["animals"]
    queue.ask("b", [], [], one_gpu, 32)
    assert queue.empty


def test_what_fits_on_no_machine_is_left_to_ray_once_nothing_else_runs() -> None:
    queue = GpuQueue()
    assert queue.ask("a", [], [place(1, "a", "animals")], [NodeResources(4, 0)], 0) == {
        "animals": ""
    }


def test_processes_are_packed_onto_machines() -> None:
    assert fits(TWO_GPUS, [(1, 1), (1, 1)])
    assert not fits(TWO_GPUS, [(1, 0.6)] * 3)
    assert fits([*TWO_GPUS, NodeResources(2, 0)], [(2, 0), (4, 1), (4, 1)])
