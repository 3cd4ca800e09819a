"""What simulated searches say about a setting: take it, or the data cannot tell."""

from __future__ import annotations

import json
from collections.abc import Sequence

from orchestrator.simulation.advice import advise
from orchestrator.simulation.regret import Regret
from orchestrator.simulation.run import Outcome, Simulated, SimulateResult
from orchestrator.simulation.setups import Setup, combine
from orchestrator.simulation.tables import simulation_json

REFERENCE, ASHA, CUT = combine(["random"], ["asha", "cut min_epochs=1"])


def outcome(seconds: float | None) -> Outcome:
    """A search that reaches half a point after these seconds, or never."""
    regret = Regret((0.0,), (0.1,)) if seconds is None else Regret((0.0, seconds), (0.1, 0.004))
    return Outcome(regret=regret, trials=9, completed=3, busy=1.0)


def result(**times: Sequence[float | None]) -> SimulateResult:
    """Searches of 100 seconds with two workers."""
    setups: dict[str, Setup] = {"reference": REFERENCE, "asha": ASHA, "cut": CUT}
    return SimulateResult(
        candidates=20,
        epochs=3,
        best=0.9,
        answers="",
        trainings=10,
        seeds=len(times["reference"]),
        target=0.005,
        simulated=[
            Simulated(setup=setups[name], workers=2, seconds=100.0, outcomes=[outcome(one) for one in seconds])
            for name, seconds in times.items()
        ],
    )


def test_the_soonest_is_recommended_with_those_that_cannot_be_told_from_it() -> None:
    found = result(
        reference=[40.0, 44.0, 48.0, 52.0, 56.0, 60.0],
        asha=[10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
        cut=[10.5, 11.5, 12.5, 13.5, 14.5, None],
    )
    (advice,) = advise(found)
    assert advice.sentence == (
        "On 2 workers take random with asha: it comes within 0.5 points of the best recorded candidate 4.0 times "
        "(3.1 to 5.2) sooner than random search without stopping. random with cut min_epochs=1 cannot be distinguished "
        "from it."
    )
    assert [one.simulated.setup for one in advice.setups] == [ASHA, CUT]


def test_what_the_data_cannot_tell_is_said() -> None:
    never = result(reference=[None] * 6, asha=[50.0, *[None] * 5], cut=[None] * 6)
    (advice,) = advise(never)
    assert advice.sentence.startswith(
        "On 2 workers the data cannot tell that any setting is faster than random search without stopping: the best of "
        "the other settings, random with asha, comes within 0.5 points of the best recorded candidate with 1 of 6 seeds"
    )
    assert advice.sentence.endswith("Try a larger --target, more --trainings or more --seeds.")
    assert json.loads(json.dumps(simulation_json(never), allow_nan=False))["simulated"][0]["median"] is None

    slower = result(reference=[10.0, 11.0, 12.0, 13.0, 14.0], asha=[9.0, 11.0, 12.0, 14.0, 15.0], cut=[90.0] * 5)
    (advice,) = advise(slower)
    assert advice.sentence.endswith("Try more --seeds. random with cut min_epochs=1: slower.")
