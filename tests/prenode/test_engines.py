"""What engines' JSON files say, what their commands print, and what runs over there leaves in the folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm
from prenode_kit import JOB, Server, configuration

from prenode import engine, marks, notify
from prenode.bridge import Bridge
from prenode.config import KEYS, ConfigError, load
from prenode.program import Program

CLONE = Path(__file__).resolve().parents[2]
SQUEUE = """\
12_1|RUNNING|c01|None|croft.lab.20261122-120000-abc123.0a1b2c3d
12_[2-4%2]|PENDING||Resources|croft.lab.20261122-120000-abc123.0a1b2c3d
13_1|NODE_FAIL|c02|NodeDown|croft.lab.20261122-120000-abc123.1a1b2c3d
14|PENDING||ReqNodeNotAvail, UnavailableNodes:c[01-02]|somebody else's
"""
QSTAT = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <queue_info>
    <job_list state="running">
      <JB_job_number>7</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>croft.lab.j1.0a1b2c3d</JB_name>
      <JB_owner>render</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-22T12:00:00</JAT_start_time>
      <queue_name>all.q@c01.example</queue_name>
      <slots>1</slots>
      <tasks>3</tasks>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>7</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>croft.lab.j1.0a1b2c3d</JB_name>
      <JB_owner>render</JB_owner>
      <state>qw</state>
      <JB_submission_time>2026-11-22T12:00:00</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>4-8:2</tasks>
    </job_list>
  </job_info>
</job_info>
"""


def shipped(name: str, tmp_path: Path, printed: str) -> engine.Engine:
    """An engine as it is shipped, whose listing prints this."""
    told = json.loads((engine.ENGINES / f"{name}.json").read_text())
    (tmp_path / "printed").write_text(printed)
    told["list"] = ["cat", str(tmp_path / "printed")]
    (tmp_path / "engine.json").write_text(json.dumps(told))
    return engine.load("engine.json", {"folder": "/f", "logs": "/f/logs"}, ["--partition=x"], tmp_path)


def test_slurms_listing_is_read_with_arrays_and_reasons(tmp_path: Path) -> None:
    items = shipped("slurm", tmp_path, SQUEUE).list("croft.lab.")
    assert [(item.id, item.index, item.state, item.why, item.host) for item in items] == [
        ("12", 1, "running", "", "c01"),
        ("12", 2, "waiting", "no machine is free (Resources)", ""),
        ("12", 3, "waiting", "no machine is free (Resources)", ""),
        ("12", 4, "waiting", "no machine is free (Resources)", ""),
        ("13", 1, "lost", "its machine went down (NodeDown)", "c02"),
    ]
    (other,) = shipped("slurm", tmp_path, SQUEUE).list("somebody")
    why = "the machines that it needs are away (ReqNodeNotAvail, UnavailableNodes:c[01-02])"
    assert other.why == why


def test_grid_engines_listing_is_read_with_its_ranges(tmp_path: Path) -> None:
    items = shipped("gridengine", tmp_path, QSTAT).list("croft.lab.")
    assert [(item.index, item.state, item.host) for item in items] == [
        (3, "running", "c01.example"),
        (4, "waiting", ""),
        (6, "waiting", ""),
        (8, "waiting", ""),
    ]


def test_grid_engines_submission_asks_for_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qsub").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\necho 7.1-3:1\n')
    (tmp_path / "qsub").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    one = shipped("gridengine", tmp_path, "")
    assert (
        one.submit(3, {"name": "croft.lab.j1.b", "batch": "b", "script": "/f/b.sh"}, ["-l", "gpu=1"]) == "7"
    )
    said = (tmp_path / "said").read_text()
    assert said.startswith("-terse -t 1-3 -N croft.lab.j1.b ")
    assert said.endswith(" -o /f/logs/b.$TASK_ID.log --partition=x -l gpu=1 /f/b.sh\n")


def test_a_command_is_filled_in_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "submit").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done >&2\nexit 3\n')
    (tmp_path / "submit").chmod(0o755)
    told = json.loads((engine.ENGINES / "slurm.json").read_text())
    told["submit"][0] = str(tmp_path / "submit")
    (tmp_path / "mine.json").write_text(json.dumps(told))
    one = engine.load("mine.json", {"folder": "/a b; c"}, ["--partition=x"], tmp_path)
    batch = {"name": "croft.lab.j.b", "batch": "b", "script": "/a b; c/b.sh"}
    with pytest.raises(engine.EngineError, match=r"^/a b; c/b\.sh$"):  # the last word that it said
        one.submit(3, batch, ["--gres=gpu:1"])
    argv = one._argv("submit", {**batch, "count": "3"}, {"options": ["--partition=x", "--gres=gpu:1"]})
    assert argv[-4:] == ["--chdir=/a b; c", "--partition=x", "--gres=gpu:1", "/a b; c/b.sh"]
    assert "--array=1-3" in argv


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    told = {
        "title": "Slow",
        "submit": ["sh", "-c", f"sleep 100 & echo $! >{tmp_path}/pid; wait"],
        "id": "(.*)",
    }
    one = engine.Engine(told, {}, timeout_s=1)
    with pytest.raises(engine.EngineError, match="didn't answer within 1 seconds"):
        one.submit(1, {}, [])
    end = time.monotonic() + 20
    while lives(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """One that has ended and that nobody has asked about since doesn't."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_prenode_waits_for_a_submission_of_the_one_before(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    one: Any = engine.load("slurm", {}, [], tmp_path)
    bridge = Bridge(config, one, Program(config, ""))
    orphan = os.open(config.folder / "submitting", os.O_RDWR)
    fcntl.flock(orphan, fcntl.LOCK_EX)
    waits = threading.Thread(target=bridge.await_orphans)
    waits.start()
    waits.join(0.3)
    assert waits.is_alive()
    os.close(orphan)
    waits.join(20)
    assert not waits.is_alive()
    bridge.close()


# ---- nodes over there


def under(command: str, node: str, tmp_path: Path) -> tuple[Bridge, Server]:
    """A prenode for the engine `command`, and a program in the place of the node."""
    config = configuration(tmp_path, engine="command", cmd=command, python=sys.executable, retry_time=0.1)
    given = {"folder": str(config.folder), "logs": str(config.folder / "logs"), "cmd": command}
    one = engine.load("command", given, [], tmp_path)
    server = Server()
    program = Program(config, one.index)
    (program.home / "node/__main__.py").write_text(node)
    return Bridge(config, one, program, ask=server.ask), server


def rounds_until(bridge: Bridge, true: Callable[[], Any]) -> None:
    end = time.monotonic() + 40
    while not true():
        assert time.monotonic() < end
        bridge.round()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("said", "ident"),
    [
        ('Your job-array 77.1-3:1 ("croft.lab.x") has been submitted', "77.1-3:1"),
        ("Submitted batch job 77", "77"),
        ("77[].server", "77[].server"),
        ("done", ""),
    ],
)
def test_any_commands_answer_tells_its_number(tmp_path: Path, said: str, ident: str) -> None:
    one = engine.load("command", {"cmd": f"echo '{said}'"}, [], tmp_path)
    assert one.submit(3, {}, []) == ident


EACH = 'for n in $(seq %i); do CROFT_INDEX=$n setsid "$CROFT_SCRIPT" & done >/dev/null 2>&1'
NODE = """
import json, os, signal, sys, time
said = {name: os.environ[f"CROFT_{name.upper()}"] for name in ("prenode", "run")}
said["config"] = json.load(open(sys.argv[2]))
said["mode"] = os.stat(sys.argv[2]).st_mode & 0o777
open(FOLDER + "/" + said["run"], "w").write(json.dumps(said))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(100)
"""


def test_any_command_starts_nodes_that_are_known_by_their_marks_and_end_by_one(tmp_path: Path) -> None:
    (tmp_path / "said").mkdir()
    bridge, server = under(EACH, NODE.replace("FOLDER", repr(str(tmp_path / "said"))), tmp_path)
    bridge._place = replace(bridge._place, requirements={"it's big": []})
    server.want(2, requires=["it's big"])
    rounds_until(bridge, lambda: [run["state"] for run in server.heard and server.runs] == ["running"] * 2)
    rounds_until(bridge, lambda: len(list((tmp_path / "said").iterdir())) == 2)
    for path in (tmp_path / "said").iterdir():
        said = json.loads(path.read_text())
        assert (said["prenode"], said["mode"], said["config"]["single_use"]) == ("lab", 0o600, True)
        assert said["config"]["token"] == "a node's token"
        assert said["config"]["provides"] == ["it's big"]  # or the server would give it none of that work
        assert said["config"]["name"].endswith(said["run"])
    server.demand, server.ended = [], [JOB]
    bridge.round()
    bridge._wall = lambda: time.time() + 20  # what runs had its time to end by itself
    rounds_until(bridge, lambda: server.runs == [])
    bridge.close()


def test_the_last_words_of_a_node_that_fails_are_told(tmp_path: Path) -> None:
    node = "import sys; print('10:00:00 node: there is no Blender at /opt/b', file=sys.stderr); sys.exit(1)"
    bridge, server = under(EACH, node, tmp_path)
    server.want(1)
    rounds_until(bridge, lambda: server.heard and any(run["state"] == "failed" for run in server.runs))
    assert "node: there is no Blender at /opt/b" in {run["why"] for run in server.runs}
    bridge.close()


def test_a_node_that_shows_no_sign_of_life_is_gone_by_our_own_clock(tmp_path: Path) -> None:
    (tmp_path / "b.1.begun").write_text('{"host": "c1"}')
    os.utime(tmp_path / "b.1.begun", (1, 1))  # its machine's clock is far off
    seen = marks.Marks(tmp_path)
    assert seen.read(["b.1", "b.2"], 1000.0)["b.1"].alive_at == 1000
    assert seen.read(["b.1"], 1090.0)["b.1"].alive_at == 1000
    os.utime(tmp_path / "b.1.begun", (2, 2))
    assert seen.read(["b.1"], 1100.0)["b.1"].alive_at == 1100


def test_a_node_that_is_told_to_end_gives_back_and_leaves_no_token_behind(tmp_path: Path) -> None:
    (tmp_path / "said").mkdir()
    bridge, _ = under("true", NODE.replace("FOLDER", repr(str(tmp_path / "said"))), tmp_path)
    script = bridge.program.script("b7")
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen([script], env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})
    for _ in range(1000):
        if list((tmp_path / "said").iterdir()):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    ended = json.loads((bridge.config.folder / "runs/b7.1.ended").read_text())
    assert (ended["code"], ended["told"]) == (0, True)
    assert list((tmp_path / "tmp").iterdir()) == []
    bridge.close()


def test_a_node_says_which_run_it_is_and_whether_it_did_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROFT_PRENODE", "lab")
    monkeypatch.setenv("CROFT_RUN", "b7.1")
    farm = Farm(tmp_path)
    farm.server.info["hibernation"] = 0.5
    assert farm.node(single_use=True).wait(40) == 75
    said = farm.server.of("identity")[0]
    assert (said["prenode"], said["run"]) == ("lab", "b7.1")
    farm.give(farm.task("a1"))
    assert farm.node(single_use=True).wait(40) == 0
    farm.close()


# ---- RFAM's way


def job(**changes: Any) -> dict[str, Any]:
    return {"name": "sh010", "video": False, "requires": [], "frames": 4, **changes}


def test_without_an_engine_the_command_is_run_as_rfam_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = configuration(tmp_path, engine="", cmd=f"echo %i nodes, 100%% >>{out}", provides=["gpu"])
    jobs = [job(), job(requires=["gpu"]), job(requires=["big"]), job(video=True), {"strange": 1}]
    asked = []

    def ask(url: str, token: str, message: Any) -> Any:
        asked.append((url, token, message))
        return jobs

    assert notify.run(config, threading.Event(), ask, once=True)
    assert asked == [(config.server, "a node's token", "lab")]
    assert out.read_text() == "9 nodes, 100%\n"
    jobs.clear()
    notify.run(config, threading.Event(), ask, once=True)
    assert out.read_text() == "9 nodes, 100%\n"  # nothing new: nothing is run


def test_rfams_own_configuration_is_read_as_it_is(tmp_path: Path) -> None:
    told = {"name": "cluster", "server": "http://localhost:8080", "retry_time": 30.0, "check_time": 30.0}
    (tmp_path / "config.json").write_text(json.dumps({**told, "provides": [], "cmd": 'echo "%i jobs"'}))
    config = load(tmp_path / "config.json")
    assert (config.warnings, config.engine, config.check_time) == ([], "", 30)
    (tmp_path / "config.json").write_text(json.dumps({**told, "cmd": "true", "token": "x", "tick": 1}))
    (tmp_path / "config.json").chmod(0o644)
    unknown, open_to_all = load(tmp_path / "config.json").warnings
    assert "'tick'" in unknown
    assert "chmod 600" in open_to_all


# ---- what is refused, and what is written


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, '"name" is missing'),
        ({"name": "a b"}, "letters, digits"),
        ({"server": "nas"}, "must be like http://host:8080"),
        ({"engine": "", "cmd": ""}, 'no "engine"'),
        ({"check_time": 0}, "a number from 0.1"),
        ({"provides": "gpu"}, "a list of words"),
        ({"requirements": {"gpu": "--gres"}}, "a list of words"),
        ({"node": []}, "an object"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_what_to_mend(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configuration(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"submit": None}, "lacks 'submit'"),
        ({"id": "("}, "regular expression"),
        ({"states": {"R": "run"}}, "'run' is no state"),
        ({"line": "(.*)"}, "must have the group"),
        ({"sumbit": []}, "unknown key 'sumbit'"),
        ({"list": "squeue"}, "must be a list"),
    ],
)
def test_an_engine_that_cannot_be_used_says_what_to_mend(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    told = {**json.loads((engine.ENGINES / "slurm.json").read_text()), **changes}
    told = {key: value for key, value in told.items() if value is not None}
    (tmp_path / "mine.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=sentence):
        engine.load("mine.json", {}, [], tmp_path)
    with pytest.raises(ConfigError, match="neither one of command, gridengine, slurm, nor a file"):
        engine.load("lsf", {}, [], tmp_path)


def test_every_key_is_documented() -> None:
    rows = [
        row for row in (CLONE / "docs/prenode.md").read_text("utf-8").splitlines() if row.startswith("| `")
    ]
    documented = {row.split("`")[1]: row.split("`")[3] for row in rows[: len(KEYS)]}
    assert documented == {name: json.dumps(default) for name, (default, _) in KEYS.items()}
    told = {word for row in rows[len(KEYS) :] for word in row.split("|")[1].split("`")[1::2]}
    assert told == set(engine.KEYS)


def test_from_a_shell_it_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "lab", "engine": "slurm", "node": {"paths": {}}, "x": 1}')
    command = [sys.executable, str(CLONE / "run.py"), "prenode", "--config", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"prenode: {tmp_path}/none.json isn't there; write one or name it with --config FILE\n"
    )
