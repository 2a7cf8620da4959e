"""The node's manners on the wire, against a scripted server: claims, results, faults, its end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm, until

IGNORES_TERM = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2] == "parent":
    if os.fork() == 0:
        if sys.argv[3] == "leave":
            os.setsid()
        os.execv(sys.executable, [sys.executable, "-S", __file__, sys.argv[1] + ".child", "child"])
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
while True:
    time.sleep(60)
"""


def written(farm: Farm) -> list[str]:
    return sorted(path.name for path in farm.version.iterdir())


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def pid_in(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text()))


def stubborn(farm: Farm, attempt: str, leave: str = "stay") -> tuple[dict[str, Any], Path, Path]:
    script = farm.folder / "stubborn.py"
    script.write_text(IGNORES_TERM)
    parent, child = farm.folder / f"{attempt}.pid", farm.folder / f"{attempt}.pid.child"
    argv = [sys.executable, "-S", str(script), str(parent), "parent", leave]
    return farm.task(attempt, do="run", argv=argv), parent, child


def test_does_what_it_claims_and_tells_all_about_it(farm: Farm) -> None:
    farm.give(*(farm.task(f"a{n}", n, width=40, height=20) for n in range(1, 6)))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("done")) == 5)
    identity = farm.server.heard[0]
    assert identity["id"] == "identity"
    assert identity["protocol"] == 2
    assert identity["paths"] == {"data": "marker"}
    assert identity["slots"] == 1
    done = farm.server.of("done")[0]
    output = done["outputs"][0]
    path = farm.version / output["temp"]
    assert output == {
        "name": "x.0001.png",
        "path": "x.0001.png",
        "temp": ".a1.x.0001.png",
        "size": path.stat().st_size,
        "kind": "frame",
        "width": 40,
        "height": 20,
    }
    assert "folders" not in done
    assert [result["uuid"] for result in farm.server.of("done")] == ["a1", "a2", "a3", "a4", "a5"]


def test_claims_no_more_than_it_can_use(farm: Farm) -> None:
    """Two slots: at most one at work, one ahead and three whose files are being checked, each."""
    farm.give(*(farm.task(f"a{n}", n, seconds=0.15) for n in range(1, 13)))
    most = 0

    def verdict(result: dict[str, Any]) -> list[dict[str, Any]]:
        nonlocal most
        most = max(most, len(farm.server.given) - len(farm.server.of("done")) + 1)
        return [{"id": "accepted", "uuid": result["uuid"]}]

    farm.server.verdict = verdict
    farm.node(processes=[1, 1])
    farm.server.wait(lambda: len(farm.server.of("done")) == 12)
    assert 2 <= most <= 10
    assert max(request["count"] for request in farm.server.of("task")) == 2


def test_a_slot_does_not_fetch_ahead_of_a_long_task(farm: Farm) -> None:
    farm.give(farm.task("long", 1, seconds=60), farm.task("other", 2))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("report")) >= 3)
    assert [task["uuid"] for task in farm.server.given] == ["long"]


def test_a_result_without_an_answer_is_sent_until_there_is_one(farm: Farm) -> None:
    farm.server.verdict = lambda result: []
    farm.give(farm.task("a1"))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("done")) == 3)
    farm.server.verdict = lambda result: [{"id": "accepted", "uuid": "a1"}]
    farm.server.wait(lambda: len(farm.server.of("done")) == 4)
    beats = len(farm.server.of("info"))
    farm.server.wait(lambda: len(farm.server.of("info")) >= beats + 3)
    assert len(farm.server.of("done")) == 4


def test_what_a_refused_attempt_wrote_is_removed(farm: Farm) -> None:
    farm.server.verdict = lambda result: [{"id": "refused", "uuid": result["uuid"], "why": "it has expired"}]
    farm.give(farm.task("a1"))
    farm.node()
    farm.server.wait(lambda: farm.server.of("done"))
    until(lambda: not written(farm))


def test_a_server_that_is_away_gets_the_results_later_even_from_the_next_node(farm: Farm) -> None:
    """Given tasks at work, when the server goes, then the node works on and a restarted one delivers."""
    farm.give(farm.task("a1", 1, seconds=0.4), farm.task("a2", 2, seconds=0.1))
    node = farm.node()
    farm.server.wait(lambda: len(farm.server.given) == 2)
    farm.server.stop()
    spool = farm.folder / "config.spool"
    until(lambda: sorted(path.name for path in spool.glob("*.json")) == ["a1.json", "a2.json"])
    node.kill()
    node.wait()
    farm.server.start()
    farm.node()
    farm.server.wait(lambda: {result["uuid"] for result in farm.server.of("done")} == {"a1", "a2"})
    until(lambda: not list(spool.glob("*.json")))
    assert written(farm) == [".a1.x.0001.png", ".a2.x.0002.png"]


def test_the_same_server_started_again_learns_who_we_are(farm: Farm) -> None:
    farm.node()
    farm.server.wait(lambda: farm.server.of("identity"))
    farm.server.info = {**farm.server.info, "server": "two"}
    farm.server.wait(lambda: len(farm.server.of("identity")) == 2)


def test_kill_ends_the_whole_group_even_what_ignores_sigterm_or_has_left_it(farm: Farm) -> None:
    task, parent, child = stubborn(farm, "a1", "leave")
    farm.give(task)
    farm.node()
    pids = [pid_in(parent), pid_in(child)]
    assert all(map(alive, pids))
    farm.server.kills = [{"id": "kill", "uuid": "a1", "frame": 1}]
    until(lambda: not any(map(alive, pids)))
    farm.give(farm.task("a2"))
    farm.server.wait(lambda: [result["uuid"] for result in farm.server.of("done")] == ["a2"])
    assert not farm.server.of("failed")


def test_a_killed_node_leaves_nothing_running(farm: Farm) -> None:
    task, parent, child = stubborn(farm, "a1")
    farm.give(task)
    node = farm.node()
    pids = [pid_in(parent), pid_in(child)]
    node.kill()
    until(lambda: not any(map(alive, pids)))


def test_a_killed_node_gives_its_claims_back_when_it_starts_again(farm: Farm) -> None:
    farm.give(farm.task("a1", 1, seconds=60))
    node = farm.node()
    farm.server.wait(lambda: farm.server.of("report"))
    (farm.version / ".a1.x.0001.png").write_bytes(b"half")
    node.kill()
    node.wait()
    farm.node()
    assert farm.server.wait(lambda: farm.server.of("release")) == [{"id": "release", "uuid": "a1"}]
    assert written(farm) == []
    again = len(farm.server.of("info"))
    farm.server.wait(lambda: len(farm.server.of("info")) > again + 2)
    assert len(farm.server.of("release")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_node_gives_its_claims_back(farm: Farm, number: signal.Signals) -> None:
    farm.give(farm.task("a1", 1, seconds=0.3), farm.task("a2", 2, seconds=50), farm.task("a3", 3))
    node = farm.node()
    farm.server.wait(lambda: len(farm.server.given) == 3 and farm.server.of("done"))
    node.send_signal(number)
    assert node.wait(15) == 0
    # The one at work and the one fetched ahead.
    assert [release["uuid"] for release in farm.server.of("release")] == ["a2", "a3"]
    assert written(farm) == [".a1.x.0001.png"]


def test_a_renderer_that_is_told_to_end_just_before_its_node_has_not_failed(farm: Farm) -> None:
    """As a cluster, or systemd, tells all processes of a job."""
    own = farm.version / "pid"
    code = f"import os, time; open({str(own)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    farm.give(farm.task("a1", do="run", argv=[sys.executable, "-c", code]))
    node = farm.node()
    until(lambda: own.exists() and own.read_text())
    pid = int(own.read_text())
    os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid))
    node.send_signal(signal.SIGTERM)
    assert node.wait(15) == 0
    assert [release["uuid"] for release in farm.server.of("release")] == ["a1"]
    assert not farm.server.of("failed")


def test_output_that_is_not_utf8_and_a_grandchild_that_keeps_it_open(farm: Farm) -> None:
    noise = (
        "import os, sys, subprocess; os.write(1, b'caf\\xe9 \\xff\\n' + b'x' * 300000 + b'\\nlast words');"
        "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'],"
        "start_new_session=True);"
        "sys.exit(3)"
    )
    farm.give(farm.task("a1", do="run", argv=[sys.executable, "-c", noise]))
    farm.node()
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    assert failed["reason"] == "renderer error"
    assert "exit code 3" in failed["log"]
    assert failed["log"].endswith("last words")
    assert len(failed["log"]) <= 8000


def test_a_task_that_takes_too_long_fails_with_its_last_lines(farm: Farm) -> None:
    argv = [sys.executable, "-uc", "import time; print('still here'); time.sleep(60)"]
    farm.give({**farm.task("a1", do="run", argv=argv), "timeout": 0.7}, farm.task("a2"))
    farm.node()
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    assert failed["reason"] == "time-out"
    assert "still here" in failed["log"]
    farm.server.wait(lambda: farm.server.of("done"))


@pytest.mark.parametrize(
    ("command", "reason", "words"),
    [
        ({"folder": "data::demo/v999"}, "missing file", "isn't there"),
        ({"folder": "other::demo"}, "missing file", "doesn't have"),
        ({"folder": "data::../../etc"}, "missing file", "leads out"),
        ({"do": "blender-frame", "file": "data::demo/no.blend"}, "missing file", "no.blend"),
        ({"do": "dance"}, "renderer error", "dance"),
        ({"do": "run", "argv": "rm -rf /"}, "renderer error", "list of arguments"),
        ({"do": "run", "argv": ["/no/such/program"]}, "renderer error", "can't be started"),
        ({"do": "run", "argv": [sys.executable, "-c", "import os; os.abort()"]}, "crash", "signal 6"),
        (
            {
                "do": "run",
                "folder": "data::demo/v001",
                "argv": [
                    sys.executable,
                    "-c",
                    "import sys; open(sys.argv[1], 'w')",
                    "data::demo/v001/.a1.x.png",
                ],
            },
            "bad output",
            "x.png is empty",
        ),
    ],
)
def test_failures_say_why(farm: Farm, command: dict[str, Any], reason: str, words: str) -> None:
    farm.give(farm.task("a1", **command))
    farm.node(blender=sys.executable)
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    assert failed["reason"] == reason
    assert words in failed["log"]
    assert ".a1." not in failed["log"], "files are told by the names that people know"


def test_programs_that_the_server_asks_for_are_looked_for(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "trace-it"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    farm.server.info["look_for"] = ["trace-it", "nowhere-at-all", "../bin/trace-it", 7]
    farm.node()
    found = farm.server.wait(lambda: [i for i in farm.server.of("identity") if "trace-it" in i["programs"]])
    assert not {"nowhere-at-all", "../bin/trace-it"} & found[0]["programs"].keys()


def test_a_share_that_is_not_mounted_gets_no_claims(farm: Farm) -> None:
    marker = farm.share / ".croft-share.json"
    marker.rename(farm.share / "hidden")
    farm.give(farm.task("a1"))
    farm.node()
    asked = farm.server.wait(lambda: farm.server.of("task"))
    assert asked[0]["paths"] == []
    (farm.share / "hidden").rename(marker)
    farm.server.wait(lambda: farm.server.of("done"))
    assert farm.server.of("identity")[-1]["paths"] == {"data": "marker"}


def test_a_share_unmounted_under_a_task_fails_nothing(farm: Farm) -> None:
    """The claim goes back: nothing is wrong with the scene."""
    farm.give(farm.task("a1", seconds=1))
    farm.node()
    farm.server.wait(lambda: farm.server.of("report"))
    farm.share.rename(farm.folder / "unmounted")
    released = farm.server.wait(lambda: farm.server.of("release"))
    assert released[0]["uuid"] == "a1"
    assert not farm.server.of("failed")


def test_a_share_with_another_marker_than_the_servers_gets_no_claims(farm: Farm) -> None:
    farm.server.info["shares"] = {"data": "another marker"}
    farm.give({**farm.task("a1"), "share": "never"})
    farm.node()
    farm.server.wait(lambda: any(request["paths"] == [] for request in farm.server.of("task")))


def test_shares_from_rfams_folder_of_files(farm: Farm) -> None:
    paths = farm.folder / "paths"
    paths.mkdir()
    (paths / "one.json").write_text(json.dumps({"ident": "data", "path": "../share"}))
    farm.give(farm.task("a1"))
    farm.node(paths="paths")
    farm.server.wait(lambda: farm.server.of("done"))


def test_several_nodes_in_one_process(farm: Farm) -> None:
    """As `demo --nodes N` starts them; SIGTERM ends all."""
    names = [f"node{n}" for n in range(5)]
    farm.give(*(farm.task(f"a{n}", n, seconds=0.1) for n in range(1, 21)))
    process = farm.nodes(*(farm.config(f"{name}.json", name=name) for name in names))
    farm.server.wait(lambda: len(farm.server.of("done")) == 20)
    assert {identity["name"] for identity in farm.server.of("identity")} == set(names)
    process.terminate()
    assert process.wait(15) == 0


def test_a_single_use_node_ends_when_nothing_is_left(farm: Farm) -> None:
    farm.give(farm.task("a1"), farm.task("a2"))
    node = farm.node(single_use=True)
    assert node.wait(20) == 0
    assert len(farm.server.of("done")) == 2


def test_a_second_node_with_the_same_configuration_says_so_and_ends(farm: Farm) -> None:
    farm.node()
    farm.server.wait(lambda: farm.server.of("identity"))
    second = farm.node()
    assert second.wait(15) == 1
    assert second.stderr is not None
    said = second.stderr.read().strip().splitlines()
    assert said == [f"node: a node with this configuration runs already (process {farm.processes[0].pid})"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"name": "a", "ser', "isn't valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"server": "nas:8080"}', '"server" must be like'),
        ('{"processes": []}', '"processes" must be a list'),
        ('{"nice": "very"}', '"nice" must be a number'),
        ('{"blender": "/no/blender"}', "there is no Blender at /no/blender"),
        ('{"paths": {"data": 7}}', '"paths" must be a folder'),
    ],
)
def test_a_wrong_configuration_gets_one_clear_line(farm: Farm, content: str, words: str) -> None:
    node_config = farm.config()
    node_config.write_text(content)
    farm.config = lambda **_: node_config  # type: ignore[method-assign]
    node = farm.node()
    assert node.wait(15) == 1
    assert node.stderr is not None
    lines = node.stderr.read().strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_a_server_that_does_not_know_the_token_is_told_in_one_line(farm: Farm) -> None:
    farm.server.status = 401
    node = farm.node(blender=sys.executable)
    assert node.wait(15) == 1
    assert node.stderr is not None
    assert node.stderr.read().strip().splitlines() == ["node: the token is unknown"]


def test_an_unreachable_server_is_waited_for(farm: Farm) -> None:
    farm.server.stop()
    node = farm.node()
    assert node.stderr is not None
    line = node.stderr.readline()
    assert "can't be reached" in line
    farm.server.start()
    farm.server.wait(lambda: farm.server.of("identity"))
    assert os.waitpid(node.pid, os.WNOHANG) == (0, 0)
