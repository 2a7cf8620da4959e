"""What becomes of frames that fail: who tries next, what is free, what is final, and who is kept away."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, here_for_long, until

from server.farm import statistics
from server.farm.committer import keeper
from server.farm.farm import Farm
from server.farm.statistics import tables

Submit = Callable[..., str]


@pytest.fixture
def farm(world: World) -> Farm:
    """One whose clock on the wall goes with the test's, from now on."""
    return open_farm(world)


def open_farm(world: World) -> Farm:
    began_at = 1_790_000_000.0 - 1000.0
    return world.open(wall=lambda: began_at + world.clock.now)


def crew(world: World, farm: Farm, *names: str, **facts: Any) -> list[Node]:
    """Nodes that have said hello."""
    found = [Node(farm, name, world.root) for name in names]
    for node in found:
        node.facts = facts
        node.say({"id": "info"})
    return found


def hello(world: World, *nodes: Node, seconds: float = 0.0) -> None:
    """Time passes, heard by these nodes."""
    world.clock.now += seconds
    for node in nodes:
        node.say({"id": "info"})


# -- who tries next ---------------------------------------------------------------------------------------


def test_two_sick_computers_do_not_condemn_a_healthy_job(world: World, farm: Farm, submit: Submit) -> None:
    """Given three computers of which two fail whatever they get, and the third is busy all the while, then
    the job waits for it, says so, and is done by it."""
    sick, worse, well = crew(world, farm, "sick", "worse", "well")
    long = submit("1")
    busy = well.one()
    job_id = submit("1-6")
    for _ in range(20):
        for node in (sick, worse):
            for task in node.ask(2):
                node.fail(task)
        hello(world, sick, worse, well, seconds=0.5)
        well.say({"id": "report", "uuid": busy["uuid"], "frame": 1})
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["failed"]) == ("running", 0)
    assert view["failed_attempts"] <= 12, "the sick ones stopped spending time on it"
    assert {kept["node"] for kept in view["avoided"]} == {"sick", "worse"}
    well.deliver(busy)
    for task in well.ask(6):
        well.deliver(task)
    assert (farm.view(job_id)["state"], farm.view(long)["state"]) == ("done", "done")
    assert disagreements(farm, job_id) == []


def test_it_waits_for_who_was_here_a_moment_ago(world: World, farm: Farm, submit: Submit) -> None:
    one, other, away = crew(world, farm, "one", "other", "away")
    hello(world, one, other, seconds=10)
    assert farm.machines.one("away")["state"] == "away"
    job_id = submit("1")
    for node in (one, other, one):
        node.fail(node.one())
        hello(world, one, other)
    assert (one.ask(), other.ask()) == ([], [])
    assert farm.view(job_id)["why"] == "frame 1 failed on one, other: away will try it"
    # When it comes back, it does it
    hello(world, away)
    away.deliver(away.one())
    assert farm.view(job_id)["state"] == "done"


def test_when_nobody_is_left_the_job_has_failed(world: World, farm: Farm, submit: Submit) -> None:
    """The same, but who could have tried doesn't come back: then it ends, and isn't waited for for ever."""
    one, other, _ = crew(world, farm, "one", "other", "away")
    hello(world, one, other, seconds=10)
    job_id = submit("1-2")
    first, second = one.ask(2)
    one.deliver(second)
    one.fail(first)
    for node in (other, one):
        node.fail(node.one())
    until(lambda: farm.view(job_id)["counts"]["waiting"] == 1)
    hello(world, one, other, seconds=3700)
    until(lambda: farm.keeper.tick() or farm.view(job_id)["state"] == "failed")
    gave_up = [event for event in events_of(world, job_id) if event["event"] == "gave_up"]
    assert gave_up[0]["why"] == "it failed on one and other, and no other computer can try it"
    assert farm.view(job_id)["counts"] == {"waiting": 0, "claimed": 0, "done": 1, "failed": 1, "skipped": 0}


def test_the_first_computer_to_wake_condemns_nothing(world: World, farm: Farm, submit: Submit) -> None:
    """Given a farm that is being switched on, of which a sick computer is the first to come, then what failed
    there three times waits a minute for its neighbours."""
    (sick,) = crew(world, farm, "sick")
    job_id = submit("1-2")
    for _ in range(6):
        for task in sick.ask():
            sick.fail(task)
    assert sick.ask() == []
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["failed"]) == ("running", 0)
    assert "failed on sick: other computers are waited for" in view["why"]
    (well,) = crew(world, farm, "well")
    for task in well.ask(2):
        well.deliver(task)
    assert farm.view(job_id)["state"] == "done"


def test_who_works_at_other_hours_exists(world: World, farm: Farm, submit: Submit) -> None:
    """Given one computer by day, which fails whatever it gets, and one that works by night, then the job
    waits for the night. Of a computer that is known to be well the word is enough."""
    day, night = crew(world, farm, "day", "night")
    here_for_long(world, day, night)
    farm.machines.change("night", {"schedule": [{"days": ["mon"], "from": "03:00", "to": "03:01"}]}, "boss")
    job_id = submit("1")
    for _ in range(3):
        day.fail(day.one())
    assert day.ask() == []
    assert farm.view(job_id)["why"] == "frame 1 failed on day: night will try it"
    submit("1")
    day.deliver(day.one())

    def judged() -> bool:  # the keeper's own thread may have judged it a moment too early: it does so again
        hello(world, day, night, seconds=keeper.JUDGE_S)
        farm.keeper.tick()
        return bool(farm.view(job_id)["state"] == "failed")

    until(judged)


def test_one_crash_beside_a_sick_computer_condemns_nothing(world: World, farm: Farm, submit: Submit) -> None:
    sick, well = crew(world, farm, "sick", "well")
    here_for_long(world, sick, well)
    other, job_id = submit("1-4"), submit("1")
    for _ in range(3):
        for task in sick.ask(2):
            sick.fail(task)
    for task in well.ask(4):
        well.deliver(task)
    assert farm.machines.one("sick")["state"] == "sick"
    well.fail(well.one())
    well.deliver(well.one())
    assert (farm.view(job_id)["state"], farm.view(other)["state"]) == ("done", "done")


def test_a_computer_alone_is_not_waited_with_for_ever(world: World, farm: Farm, submit: Submit) -> None:
    (alone,) = crew(world, farm, "alone")
    job_id = submit("1")
    for _ in range(3):
        alone.fail(alone.one())
    assert farm.view(job_id)["state"] == "running"
    here_for_long(world, alone)
    until(lambda: farm.keeper.tick() or farm.view(job_id)["state"] == "failed")


def test_a_job_that_fails_on_all_computers_stops_spending_time(
    world: World, farm: Farm, submit: Submit
) -> None:
    nodes = crew(world, farm, *(f"n{number}" for number in range(20)))
    job_id = submit("1-1000")
    attempts = 0
    for _ in range(100):
        for node in nodes:
            for task in node.ask():
                node.fail(task)
                attempts += 1
        hello(world, *nodes, seconds=1)
    view = farm.view(job_id)
    assert view["state"] == "failed"
    assert attempts < 80, "of a thousand frames"
    assert "could not be rendered, so it was stopped" in view["why"]
    assert all(farm.machines.one(node.name)["state"] == "idle" for node in nodes), (
        "the scene's fault is nobody's else"
    )


@pytest.mark.parametrize("seed", range(8))
def test_seeds_of_sick_farms(world: World, farm: Farm, seed: int) -> None:
    """Any part of a farm fails everything: healthy jobs are done, and the sick are back in the end."""
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(rng.randint(2, 7))]
    sick = set(rng.sample(names, rng.randint(0, len(names) - 1)))
    nodes = crew(world, farm, *names)
    jobs = [str(farm.submit("anna", {"file": SCENE, "frames": "1-6"}).id) for _ in range(3)]
    held: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(400):
        world.clock.now += rng.uniform(0, 1)
        node = rng.choice(nodes)
        if held[node.name] and rng.random() < 0.7:
            task = held[node.name].pop(0)
            if node.name in sick:
                node.fail(task)
            else:
                node.deliver(task)
        elif not held[node.name]:
            held[node.name] = node.ask()
        if all(farm.view(job)["state"] == "done" for job in jobs):
            break
        for one in nodes:
            reports = [{"id": "report", "uuid": t["uuid"], "frame": t["frame"]} for t in held[one.name]]
            if reports:
                one.say(*reports)
    assert [farm.view(job)["state"] for job in jobs] == ["done"] * 3, [farm.view(job)["why"] for job in jobs]
    for job in jobs:
        assert disagreements(farm, job) == []
    hello(world, *nodes, seconds=4000)
    assert {farm.machines.one(name)["state"] for name in names} <= {"idle", "busy"}, (
        "nobody stays sick for ever"
    )


# -- time -------------------------------------------------------------------------------------------------


def render_some(world: World, node: Node, count: int, seconds: float) -> None:
    for _ in range(count):
        task = node.one()
        assert node.answer_to(node.render(task, time=seconds))["id"] == "accepted"


def report(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "report", "uuid": task["uuid"], "frame": task["frame"], "begun": True, **more}


def test_ten_times_the_usual_is_taken_back_and_tried_elsewhere(
    world: World, farm: Farm, submit: Submit
) -> None:
    node, other = crew(world, farm, "n1", "n2")
    job_id = submit("1-8")
    assert node.one()["bound"] == 0, "nobody knows yet how long a frame takes"
    render_some(world, other, 5, 20.0)
    task = other.one()
    assert task["bound"] == 200
    assert "kill" not in {a["id"] for a in other.say(report(task, seconds=230))}
    other.say(report(task, seconds=250))
    assert "kill" in {a["id"] for a in other.say(report(task, seconds=251))}
    told = farm.task(job_id, task["n"])
    assert told["state"] == "waiting"
    assert told["reason"] == "time-out"
    assert told["sentence"].endswith("on n2: it took more than 4 min; such a frame usually takes 20 s.")
    # Then the other tries it, with twice the time
    again = next(t for t in node.ask(3) if t["n"] == task["n"])
    assert again["bound"] == 400
    assert node.deliver(again)["id"] == "accepted"
    assert disagreements(farm, job_id) == []


def test_a_slow_computer_has_longer(world: World, farm: Farm, submit: Submit) -> None:
    slow, quick = crew(world, farm, "slow", "quick")
    first = submit("1-40")
    for _ in range(8):
        render_some(world, quick, 2, 20.0)
        render_some(world, slow, 1, 100.0)
    assert slow.one()["bound"] > 700
    assert 150 < quick.one()["bound"] < 250
    assert farm.view(first)["state"] == "running"


def test_a_time_out_is_never_final_by_itself(world: World, farm: Farm, submit: Submit) -> None:
    """However many tries it had elsewhere: a frame that only took too long gets more time and more tries."""
    one, two, three = crew(world, farm, "one", "two", "three")
    job_id = submit("1-8")
    render_some(world, one, 7, 20.0)
    bounds = []
    for node in (one, two, three, one):
        task = node.one()
        bounds.append(task["bound"])
        node.fail(task, reason="time-out")
    assert farm.view(job_id)["counts"]["failed"] == 0
    assert bounds == [200, 400, 800, 1600]
    task = two.one()
    two.deliver(task)
    assert farm.view(job_id)["state"] == "done"


# -- what the rules say -----------------------------------------------------------------------------------


def test_a_missing_licence_is_waited_for_and_costs_no_try(world: World, farm: Farm, submit: Submit) -> None:
    (node,) = crew(world, farm, "n1")
    job_id = submit("1-2", retries=1)
    for wait_s in (60, 120, 240):
        node.fail(until(node.ask)[0], reason="renderer error", log="prman ended\nLicense not available: RPS")
        assert node.ask() == []
        view = farm.view(job_id)
        assert view["why"].startswith("No licence is free: it is tried again at ")
        assert view["held"]["why"] == "No licence is free."
        hello(world, node, seconds=wait_s - 1)
        farm.keeper.tick()
        assert node.ask() == []
        hello(world, node, seconds=2)
        until(lambda: farm.keeper.tick() or farm.view(job_id)["held"] is None)
    assert node.deliver(until(node.ask)[0])["id"] == "accepted"
    assert node.deliver(until(node.ask)[0])["id"] == "accepted"
    view = farm.view(job_id)
    assert (view["state"], view["free_attempts"], view["failed_attempts"]) == ("done", 3, 3)
    assert farm.machines.one("n1")["state"] == "idle", "a licence makes nobody sick"


def test_a_licence_can_be_asked_for_now(world: World, farm: Farm, submit: Submit) -> None:
    (node,) = crew(world, farm, "n1")
    job_id = submit("1")
    node.fail(node.one(), log="License not available")
    assert node.ask() == []
    farm.forgive(job_id, "anna")
    assert node.deliver(node.one())["id"] == "accepted"


def test_too_little_memory_asks_for_more_and_is_free(world: World, farm: Farm, submit: Submit) -> None:
    (small,) = crew(world, farm, "small", hardware={"memory_mb": 8000})
    (same,) = crew(world, farm, "same", hardware={"memory_mb": 8000})
    (large,) = crew(world, farm, "large", hardware={"memory_mb": 64_000})
    job_id = submit("1-2", retries=1)
    task = small.one()
    small.fail(task, reason="out of memory", log="Blender was killed when memory ran out.")
    told = farm.task(job_id, 0)
    assert (told["state"], told["failures"][0]["counts"]) == ("waiting", False)
    assert [t["n"] for t in same.ask(2)] == [1], "it has no more memory than the one that failed"
    again = large.one()
    assert again["n"] == 0
    # Where nobody has more, it counts
    large.fail(again, reason="renderer error", log="Calloc returns null: len=12 in x")
    told = farm.task(job_id, 0)
    assert (told["state"], told["reason"]) == ("failed", "out of memory")
    assert "more memory" in told["to_do"]


def test_what_no_computer_could_do_better_is_not_tried_again(
    world: World, farm: Farm, submit: Submit
) -> None:
    node, _ = crew(world, farm, "n1", "n2")
    job_id = submit("1-9")
    node.fail(node.one(), reason="renderer error", log="x\nError: Cannot render, no camera")
    told = farm.task(job_id, 0)
    assert (told["state"], told["rule"]) == ("failed", "fatal")
    assert "The scene has no camera" in told["sentence"]


def test_a_computer_that_lacks_something_gets_no_more_of_the_job(
    world: World, farm: Farm, submit: Submit
) -> None:
    bare, able = crew(world, farm, "bare", "able")
    job_id = submit("1-3")
    bare.fail(bare.one(), reason="renderer error", log="Error: Build without OpenImageDenoiser")
    assert bare.ask() == []
    assert farm.view(job_id)["avoided"][0]["why"] == "it lacks what the scene needs"
    for task in able.ask(3):
        able.deliver(task)
    assert farm.view(job_id)["state"] == "done"
    assert farm.machines.one("bare")["state"] == "idle"


def test_a_computers_own_fault_rests_it_at_once(world: World, farm: Farm, submit: Submit) -> None:
    full, well = crew(world, farm, "full", "well")
    job_id = submit("1-2", retries=1)
    full.fail(full.one(), reason="bad output", log="This computer's own disk is full: /tmp.\nOSError")
    node = farm.machines.one("full")
    assert (node["state"], "own disk is full (/tmp)" in node["closed"]) == ("sick", True)
    for task in well.ask(2):
        well.deliver(task)
    assert farm.view(job_id)["state"] == "done"


def test_one_job_puts_no_two_computers_to_rest(world: World, farm: Farm, submit: Submit) -> None:
    """Given a scene over which every graphics card falls, which reads as the computer's own fault, then the
    others' jobs go on at all of them, and the job ends."""
    nodes = crew(world, farm, "n1", "n2", "n3")
    here_for_long(world, *nodes)
    bad = submit("1-40")
    for turn in range(120):
        node = nodes[turn % 3]
        if farm.view(bad)["state"] == "failed":
            break
        for task in node.ask():
            node.fail(task, log="CUDA error: illegal address in cuCtxSynchronize()")
        if turn:
            assert [n["name"] for n in farm.machines.all() if n["state"] == "sick"] == []
    told = farm.view(bad)
    assert (told["state"], told["counts"]["failed"]) == ("failed", 5), told["why"]
    submit("1")
    assert nodes[0].ask()


def test_a_program_that_is_nowhere_ends_its_job_alone(world: World, farm: Farm, submit: Submit) -> None:
    nodes = crew(world, farm, "n1", "n2")
    job_id = submit("1-9")
    for node in nodes:
        node.fail(node.one(), log="/opt/x/txmake can't be started: No such file or directory")
        assert farm.machines.one(node.name)["state"] == "idle"
    told = farm.task(job_id, 0)
    assert (told["state"], told["rule"]) == ("failed", "lacking")
    assert "The program txmake isn't installed" in told["sentence"]
    assert "have it installed" in told["to_do"]


def test_a_sick_computer_comes_back_by_itself(world: World, farm: Farm, submit: Submit) -> None:
    full, _ = crew(world, farm, "full", "well")
    submit("1-2")
    full.fail(full.one(), log="This computer's own disk is full: /tmp.")
    hello(world, full, seconds=31)
    assert farm.machines.one("full")["state"] == "idle"
    assert full.ask()


# -- attempts ---------------------------------------------------------------------------------------------


def test_a_superseded_attempt_is_refused_and_counted(world: World, farm: Farm, submit: Submit) -> None:
    one, other = crew(world, farm, "one", "other")
    job_id = submit("1")
    old = one.one()
    late = one.render(old, b"late")
    world.clock.now += 31
    farm.keeper.tick()
    until(lambda: farm.view(job_id)["counts"]["waiting"] == 1)
    hello(world, other)
    new = other.one()
    answers = one.say(report(old))
    assert {"id": "kill", "uuid": old["uuid"], "frame": 1} in answers
    assert one.answer_to(late)["id"] == "refused"
    assert one.fail(old)["id"] == "accepted", "nothing to keep at the node"
    other.deliver(new, b"in time")
    view = farm.view(job_id)
    assert (view["state"], view["refused_attempts"]) == ("done", 2)
    assert farm.health.metrics()["refused_results_total"] == 2
    assert farm.health.metrics()["refused_reports_total"] == 1
    assert (world.path(view["folder"]) / "sh010.0001.png").read_bytes() == b"in time"
    until(lambda: farm.keeper.tick() or orjson.loads(result_of(world, job_id))["refused_attempts"] == 2)


def result_of(world: World, job_id: str) -> bytes:
    path = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id / "result.json"
    return path.read_bytes() if path.exists() else b'{"refused_attempts": 0}'


def test_a_restart_knows_all_of_it(world: World, farm: Farm, submit: Submit) -> None:
    """Who is kept from what, what waits until when, and what it waits for, are read from the journal."""
    one, _ = crew(world, farm, "one", "other")
    job_id = submit("1-6")
    for _ in range(3):
        one.fail(one.one())
    before = farm.view(job_id)
    assert before["avoided"]
    world.close()
    again = open_farm(world)
    one, _ = crew(world, again, "one", "other")
    assert again.view(job_id)["avoided"] == before["avoided"]
    assert one.ask() == []
    hello(world, one, seconds=3700)
    assert again.view(job_id)["avoided"] == [], "and it is forgiven after its time"
    assert one.ask()


# -- what peers got wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"", b'{"id": "', b"\0" * 300, b"[]", b'{"id": 7}'])
def test_a_torn_job_file_drops_no_job_and_stops_no_start(
    world: World, farm: Farm, submit: Submit, torn: bytes
) -> None:
    """Given a job whose request was torn by a power cut, when the server starts, then it says so, renders the
    others, and once the file is put back, renders this one too."""
    job_id, other = submit("1-2"), submit("1-2")
    path = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id / "job.json"
    whole = path.read_bytes()
    world.close()
    path.write_bytes(torn)
    again = open_farm(world)
    (node,) = crew(world, again, "n1")
    told = until(lambda: [p for p in again.health.problems() if p.address == job_id])
    assert "is not shown" in told[0].text
    assert path.read_bytes() == torn, "nothing is thrown away"
    for task in node.ask(2):
        assert task["job"] == other
        node.deliver(task)
    path.write_bytes(whole)
    store = world.farms[-1][1]
    store.rescan()
    again.keeper.changed([])
    until(lambda: again.keeper.tick() or _known(again, job_id))
    for task in until(lambda: node.ask(2)):
        node.deliver(task)
    assert again.view(job_id)["state"] == "done"


def _known(farm: Farm, job_id: str) -> bool:
    try:
        return bool(farm.job(job_id))
    except Exception:
        return False


def test_a_truncated_file_under_the_frames_name_is_no_frame(world: World, farm: Farm, submit: Submit) -> None:
    """Given that somebody's torn file lies where a frame belongs, then the frame is rendered all the same,
    and takes its place."""
    (node,) = crew(world, farm, "n1")
    job_id = submit("1-2")
    folder = world.path(farm.view(job_id)["folder"])
    (folder / "sh010.0001.png").write_bytes(b"half a pict")
    for task in node.ask(2):
        node.deliver(task, b"a whole picture")
    assert farm.view(job_id)["state"] == "done"
    assert (folder / "sh010.0001.png").read_bytes() == b"a whole picture"


def test_an_rfam_node_that_fails_is_kept_away_too(world: World, farm: Farm, submit: Submit) -> None:
    """It says nothing of a failure; the frame goes to another, and what it did well counts as ever."""
    old = Node(farm, "old", world.root, protocol=1)
    old.say({"id": "info"})
    (new,) = crew(world, farm, "new")
    job_id = submit("1", output="scene")
    assert len(old.ask()) == 1
    hello(world, old, new, seconds=3)
    assert len(old.ask()) == 1, "sent once more"
    hello(world, old, new, seconds=3)
    assert old.ask() == [], "then it failed, and the other tries it"
    task = new.one()
    done = {"id": "done", "uuid": task["uuid"], "frame": 1, "time": 3, "outputs": []}
    assert new.answer_to(done)["id"] == "accepted"
    assert farm.view(job_id)["state"] == "done"


def test_what_failed_attempts_took_stands_on_the_job_while_it_runs_and_after(world: World) -> None:
    now = [1_795_000_000.0]
    farm = world.open(wall=lambda: now[0])
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    task = node.one()
    now[0] += 4  # it held the frame for so long, and rendered for one second of that
    node.fail(task)
    until(lambda: farm.view(job_id)["failed_attempts"] == 1)
    assert farm.view(job_id)["seconds_for_nothing"] == 1.0
    # The same of its sum, once it has ended
    assert tables.seconds_for_nothing(statistics.summary(farm.board.live[job_id].job)) == 1.0
