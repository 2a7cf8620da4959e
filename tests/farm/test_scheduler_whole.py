"""Whatever comes and goes: a node gets something exactly if a look at every job would find it something."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from server.farm.scheduler import Limits, Means, Need, Scheduler, Work, misfit

LABELS = st.frozensets(st.sampled_from(["gpu", "big"]))
LICENCES = st.frozensets(st.sampled_from(["renderman"]))
NEEDS = st.builds(lambda labels, licences: Need("data", requires=labels, licences=licences), LABELS, LICENCES)
WORKS = st.builds(
    lambda number, need, project, user, priority, most: Work(
        f"job{number}", 0, need, project, user, 1.0, priority, f"{number}", most
    ),
    st.integers(0, 9),
    NEEDS,
    st.sampled_from("pq"),
    st.sampled_from("abc"),
    st.integers(1, 5),
    st.integers(0, 2),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), WORKS, st.integers(0, 3), st.booleans()),
        st.tuples(st.just("ask"), LABELS, st.frozensets(st.integers(0, 9), max_size=3), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("drop"), st.integers(0, 9)),
        st.tuples(st.just("forget"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, 4000)),
    ),
    max_size=60,
)
LIMITS = st.builds(
    Limits,
    st.dictionaries(st.sampled_from("pq"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
    st.integers(0, 3),
    st.dictionaries(st.just("renderman"), st.integers(0, 2)),
)


class Plain:
    """The same by looking at every job each time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.works: dict[str, Work] = {}
        self.ready: dict[str, int] = {}
        self.out: Counter[str] = Counter()

    def could(self, means: Means, refused: frozenset[str]) -> set[str]:
        return {job for job in self.works if job not in refused and self.may(self.works[job], means)}

    def may(self, work: Work, means: Means) -> bool:
        if self.ready.get(work.job, 0) <= 0 or misfit(work.need, means):
            return False
        if work.most and self.out[work.job] >= work.most:
            return False
        of_user, of_project = self.limits.of_user(work.user), self.limits.projects.get(work.project)
        if of_user is not None and self.count("user", work.user) >= of_user:
            return False
        if of_project is not None and self.count("project", work.project) >= of_project:
            return False
        licences = self.limits.licences
        return all(self.licensed(name) < licences[name] for name in work.need.licences if name in licences)

    def count(self, what: str, ident: str) -> int:
        return sum(n for job, n in self.out.items() if getattr(self.works[job], what) == ident)

    def licensed(self, name: str) -> int:
        return sum(n for job, n in self.out.items() if name in self.works[job].need.licences)


@given(STEPS, LIMITS)
@settings(max_examples=150, deadline=None)
def test_a_node_gets_something_exactly_if_there_is_something_for_it(
    steps: list[tuple[object, ...]], limits: Limits
) -> None:
    line, plain, now = Scheduler(), Plain(limits), 0.0
    line.limit(limits)
    for what, *more in steps:
        if what == "wait":
            now += float(more[0])  # type: ignore[arg-type]
        elif what == "put":
            work, ready, fresh = more
            assert isinstance(work, Work)
            line.put(work, ready, bool(fresh), now)  # type: ignore[arg-type]
            plain.works[work.job], plain.ready[work.job] = work, ready  # type: ignore[assignment]
        elif what == "ask":
            means = Means(provides=more[0])  # type: ignore[arg-type]
            refused = frozenset(f"job{number}" for number in more[1])  # type: ignore[attr-defined]
            could = plain.could(means, refused)
            choice = line.choose(means, now, lambda job, stage, no=refused: job in no, "n1")
            assert (choice is not None) == bool(could)
            if choice is None:
                continue
            assert choice.job in could
            assert choice.why
            line.take(choice, now, "n1")
            if more[2]:
                line.took(choice.job, 0, now)
                plain.ready[choice.job] -= 1
                plain.out[choice.job] += 1
            line.settle(now)
        else:
            job = f"job{more[0]}"
            if what == "end" and plain.out[job]:
                line.expect_end(job, 0, now)
                line.gave_back(job, 0, now)
                line.settle(now)
                plain.out[job] -= 1
            elif what == "drop":
                line.drop(job)
                plain.ready[job] = 0
            elif what == "forget":
                line.forget(job, now)
                plain.works.pop(job, None)
                plain.ready.pop(job, None)
                plain.out.pop(job, None)
        for project in "pq":
            assert line.in_use(project) == plain.count("project", project)
    standing = {job for job in plain.works if plain.ready[job] > 0}
    assert set(line.jobs()) == {
        job for job in standing if not plain.works[job].most or plain.out[job] < plain.works[job].most
    }
