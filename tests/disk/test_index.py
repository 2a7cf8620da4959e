"""The index as pure maps: what follows from entries follows them everywhere."""

from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.disk.index import Index
from server.disk.records import Entry, Facts, JobPlace, Stat

HERE = Stat(1, 2, 3, 4)


def entry(address: str, *, uuid: str = "", jobs: tuple[str, ...] = (), there: bool = True) -> Entry:
    return Entry(address, HERE if there else None, Facts(uuid=uuid) if uuid else None, jobs=jobs)


def test_an_entry_brings_its_folder_job_uuid_and_project() -> None:
    index = Index()
    assert index.put(entry("data::green/project.json", jobs=("j0",)))
    assert index.put(entry("data::green/shots/a.blend", uuid="u", jobs=("j1", "j2")))
    assert not index.put(entry("data::green/shots/a.blend", uuid="u", jobs=("j1", "j2"))), "known already"
    assert index.projects() == ["data::green"]
    assert index.folders("data::green") == ("shots",)
    assert [e.address for e in index.under("data::")] == [
        "data::green/project.json",
        "data::green/shots/a.blend",
    ]
    assert index.jobs["j2"] == JobPlace(
        "j2", "data::green/shots/a.blend", "data::green/shots/.croft/a.blend/jobs/j2"
    )
    assert index.holders("u") == ("data::green/shots/a.blend",)
    assert index.generation_of("data::green") > 0 == index.generation_of("data::blue")


def test_a_copied_job_and_a_copied_uuid_are_told_apart() -> None:
    index = Index()
    index.put(entry("data::b/a.blend", uuid="u", jobs=("j",)))
    index.put(entry("data::a/a.blend", uuid="u", jobs=("j",)))
    assert [p.address for p in index.job_places("j")] == ["data::a/a.blend", "data::b/a.blend"]
    assert index.contested() == {"u": ("data::a/a.blend", "data::b/a.blend")}
    index.drop("data::a/a.blend")
    assert index.jobs["j"].address == "data::b/a.blend"
    assert not index.contested()


def test_a_folder_replaced_forgets_what_is_not_named() -> None:
    index = Index()
    index.put(entry("data::p/x/one", jobs=("j",)))
    index.put(entry("data::p/x/deep/two", uuid="u"))
    index.put(entry("data::p/three", there=False))
    assert [e.address for e in index.missing()] == ["data::p/three"]
    before = index.generation_of("data::p")
    lost = index.put_folder("data::p", [entry("data::p/three")], ["y"])
    assert sorted(lost) == ["data::p/three", "data::p/x/deep/two", "data::p/x/one"]
    assert not index.jobs
    assert not index.missing()
    assert not index.holders("u")
    assert not index.has_folder("data::p/x/deep")
    assert index.generation_of("data::p") > before
    assert len(index) == 1


ADDRESSES = ["s::p/a", "s::p/b", "s::p/q/a", "s::q/r/a", "s::p/project.json", "s::a"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ADDRESSES),
        st.sampled_from(["", "u1", "u2"]),
        st.sampled_from([(), ("j1",), ("j1", "j2")]),
        st.sampled_from(["put", "missing", "drop"]),
    )
)


@given(STEPS)
def test_whatever_the_way_the_same_entries_give_the_same_maps(
    steps: list[tuple[str, str, tuple[str, ...], str]],
) -> None:
    live = Index()
    for address, uuid, jobs, what in steps:
        if what == "drop":
            live.drop(address)
        else:
            live.put(entry(address, uuid=uuid, jobs=jobs, there=what == "put"))
    fresh = Index()
    for folder in live.tree("s::"):
        fresh.put_folder(folder, live.folder(folder), live.folders(folder))
    assert fresh.dump() == live.dump()


def test_readers_need_no_lock() -> None:
    index = Index()
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                for found in index.entries():
                    index.get(found.address)
                list(index.under("s::p"))
                list(index.jobs.values())
                index.contested()
            except BaseException as e:
                failed.append(e)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(3000):
        index.put(entry(f"s::p/{n % 50}/f{n}", uuid=f"u{n % 7}", jobs=(f"j{n}",)))
        if n % 3 == 0:
            index.drop(f"s::p/{n % 50}/f{n}")
        if n % 100 == 0:
            index.drop_folder(f"s::p/{n % 50}")
    done.set()
    reader.join()
    assert not failed


def test_what_is_transient_is_not_compared() -> None:
    a, b = Index(), Index()
    a.put(entry("s::p/a"))
    b.put(replace(entry("s::p/a"), arriving=True))
    assert a.dump() == b.dump()
