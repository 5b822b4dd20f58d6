"""The order of the queue; tests/jobs/ has it on a real Ray."""

from cluster.planning import NodeResources, fits
from cluster.queue import GpuQueue, Reservation

TWO_GPUS = [NodeResources(cpus=4, gpus=1), NodeResources(cpus=4, gpus=1)]


def place(submitted: float, run: str, model: str, number: int = 0, gpus: float = 1) -> Reservation:
    return Reservation(submitted, run, number, model, 1, gpus)


def test_who_comes_first_is_served_first_and_the_others_are_told_whom_they_wait_for() -> None:
    queue = GpuQueue()
    late = [place(2, "late", "animals")]
    early = [place(1, "early", "animals"), place(1, "early", "people", 1)]
    more = place(1, "early", "vehicles", 2)
    assert queue.ask("early", [], [*early, more], TWO_GPUS, 0) == {
        "animals": "",
        "people": "",
        "vehicles": "early/animals, early/people",
    }
    waits = queue.ask("late", [], late, TWO_GPUS, 0)["animals"]
    assert waits == "early/animals, early/people, early/vehicles"
    # A place that is given back goes to the next of the line, whoever asks first.
    queue.ask("early", early[1:], [more], TWO_GPUS, 1)
    assert queue.ask("late", [], late, TWO_GPUS, 1)["animals"] == "early/people, early/vehicles"
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


def test_a_large_model_is_not_overtaken_by_small_ones() -> None:
    queue = GpuQueue()
    half, whole = place(1, "a", "animals", gpus=0.5), place(2, "b", "animals", gpus=1)
    nodes = TWO_GPUS[:1]
    queue.ask("a", [half], [], nodes, 0)
    assert queue.ask("b", [], [whole], nodes, 0) == {"animals": "a/animals"}
    small = place(3, "c", "animals", gpus=0.5)
    assert queue.ask("c", [], [small], nodes, 0) == {"animals": "a/animals, b/animals"}


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
