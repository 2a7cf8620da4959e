"""The line of jobs: the same choice as looking at every job would give, whatever came and went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.farm.scheduler import Line, Means, Need, Unit, misfit

SHARES = st.sampled_from(["data", "cache"])
LABELS = st.frozensets(st.sampled_from(["gpu", "big"]))
PROGRAMS = st.frozensets(st.sampled_from(["blender"]))
NEEDS = st.builds(Need, SHARES, LABELS, PROGRAMS, st.booleans())
MEANS = st.builds(
    Means, st.sampled_from([1, 2]), st.none() | st.frozensets(SHARES), st.frozensets(SHARES), LABELS, PROGRAMS
)
STEPS = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.tuples(NEEDS, st.integers(0, 5), st.integers(1, 5))),
    max_size=40,
)


@given(STEPS, MEANS, st.frozensets(st.integers(0, 12)))
def test_the_line_gives_what_a_look_at_every_job_would(
    steps: list[tuple[int, tuple[Need, int, int] | None]], means: Means, passed: frozenset[int]
) -> None:
    line = Line()
    plain: dict[Unit, tuple[Need, int, int]] = {}
    for number, what in steps:
        unit = (f"job{number:02}", number % 3)
        if what is None:
            line.drop(unit)
            plain.pop(unit, None)
        else:
            line.put(unit, *what)
            plain[unit] = what

    def order(name: Unit) -> tuple[int, int, Unit]:
        return (-plain[name][1], -plain[name][2], name)

    fitting = sorted((name for name in plain if not misfit(plain[name][0], means)), key=order)
    refused = {(f"job{number:02}", number % 3) for number in passed}
    assert line.choose(means) == (fitting[0] if fitting else None)
    assert line.choose(means, refused.__contains__) == next((n for n in fitting if n not in refused), None)
    assert list(line.jobs()) == [unit[0] for unit in sorted(plain, key=order)]
    assert len(line) == len(plain)
    for place, name in enumerate(fitting):
        assert line.ahead(name, means) == place


def test_priority_then_age() -> None:
    line, need = Line(), Need("data")
    line.put(("b", 0), need, 0, 3)
    line.put(("a", 0), need, 0, 3)
    line.put(("c", 0), need, 0, 5)
    line.put(("d", 0), need, 1, 1)
    assert list(line.jobs()) == ["d", "c", "a", "b"]


def test_an_rfam_node_gets_simple_jobs_alone() -> None:
    assert misfit(Need("data", programs=frozenset({"blender"}), simple=True), Means(protocol=1)) == ""
    assert "Croft" in misfit(Need("data"), Means(protocol=1))
    assert "blender" in misfit(Need("data", programs=frozenset({"blender"})), Means(protocol=2))
