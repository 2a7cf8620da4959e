"""Job types as data: their files, what is wrong with one, plans, words, and RenderMan's job files."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import Node, World, until
from hypothesis import given
from hypothesis import strategies as st

from server.disk.errors import BadContent, BadInput, CroftError
from server.farm.farm import Farm
from server.farm.job_types import alf, parse
from server.farm.job_types.commands import fill

CLONE = Path(__file__).resolve().parents[2]
SHIPPED = sorted((CLONE / "config/job_types").glob("*.json"))
EXAMPLES = sorted((CLONE / "docs/job-types").glob("*.json"))
GOOD: dict[str, Any] = {
    "title": "A type",
    "settings": {"seconds": {"type": "number", "default": 0, "least": 0, "most": 9}},
    "stages": [{"name": "draw", "commands": [{"do": "run", "argv": ["draw", "{seconds}", "{frame}"]}]}],
}
ALF = """##AlfredToDo 3.0
# made by hand
Job -title {shot \\{one\\}} -comment "#" -dirmaps {} -serialsubtasks 1 -subtasks {
  Task {Textures} -cmds {
    RemoteCmd {txmake "wood grain.tif" wood.tex} -service {pixarRender}
  }
  Task "Frames" -subtasks {
    Task {Frame 2} -serialsubtasks 1 -subtasks {
      Task {prepare} -cmds { Cmd {ribdepends -v 2.rib} }
      Task {render} -cmds { RemoteCmd {prman -t:0 /mnt/x/2.rib} -tags {prman} }
    } -preview {sho 2.tif}
    Task {Frame 1} -cmds { RemoteCmd {prman -t:0 %D(1.rib)} }
  }
} -cleanup { Cmd {sho all.tif} }
"""


@pytest.mark.parametrize("path", [*SHIPPED, *EXAMPLES], ids=lambda path: path.stem)
def test_shipped_types_and_the_examples_can_be_used_as_they_are(path: Path) -> None:
    job_type = parse(path.stem, json.loads(path.read_text("utf-8")))
    if job_type.frames == "file":
        return
    planned = job_type.plan(
        job_type.check_parameters({}), 1 if job_type.frames == "one" else 20, "version", "x"
    )
    assert planned[0]["tasks"] >= 1
    assert all(stage["does"] for stage in planned)
    assert job_type.view()["settings"] == [setting.view() for setting in job_type.settings.values()]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stages": []}, "stages must be a list"),
        ({"stages": [{"name": "a", "commands": []}]}, r"stages\[0\].commands"),
        (
            {"stages": [{"name": "a", "commands": [{"do": "fly"}]}]},
            r"stages\[0\].commands\[0\].do must be one",
        ),
        ({"stages": [{"name": "a", "commands": [{"do": "run"}]}]}, r"commands\[0\].argv is missing"),
        ({"stages": [{"name": "a", "commands": [{"do": "run", "argv": "rm -rf"}]}]}, r"argv must be a list"),
        ({"stages": [{"name": "a", "commands": [{"do": "run", "argv": ["x", "{y}"]}]}]}, r"the word \{y\}"),
        ({"stages": [{**GOOD["stages"][0], "per": "week"}]}, r"stages\[0\].per must be one of"),
        ({"stages": [{**GOOD["stages"][0], "chunk": "{seconds}"}]}, r"stages\[0\].chunk must be"),
        ({"stages": [{**GOOD["stages"][0], "after": ["z"]}]}, r"stages\[0\].after\[0\].stage"),
        ({"stages": [{**GOOD["stages"][0], "optional": True}]}, r"stages\[0\].optional"),
        ({"settings": {"seconds": {"type": "time"}}}, "settings.seconds.type must be one of"),
        ({"settings": {"seconds": {"type": "number", "default": "x"}}}, "settings.seconds.default: "),
        ({"settings": {"seconds": {"least": "x"}}}, "settings.seconds.least must be a number"),
        ({"settings": {"file": {}, "seconds": {}}}, "settings.file"),
        ({"for": "everybody"}, "for must be one of student"),
        ({"outputs": ["web"]}, "outputs must be one of"),
        ({"timeout_s": "x"}, "timeout_s must be a number"),
        ({"rules": [{"match": "x", "is": "later"}, {"match": "(a+)+$", "is": "fatal"}]}, r"rules\[1\]: "),
        ({"rules": ["x"]}, r"rules\[0\]: A rule is an object"),
        ({"stagse": []}, "unknown key 'stagse'"),
    ],
)
def test_a_mistaken_file_is_told_with_its_key(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=r"config/job_types/mine\.json can't be used: .*" + told):
        parse("mine", {**GOOD, **change})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from([*GOOD, "commands", "do", "argv", "per", "chunk", "after", "tiles"]),
                        inner, max_size=4)))  # fmt: skip
def test_nonsense_is_refused_with_a_sentence(nonsense: Any) -> None:
    for data in ({**GOOD, "stages": nonsense}, {**GOOD, "settings": nonsense}, {"stages": [nonsense]}):
        with suppress(BadInput):  # and nothing else
            parse("mine", data)


def test_a_type_that_is_added_while_the_farm_runs_is_rendered_with(
    world: World, farm: Farm, node: Node
) -> None:
    """When a file is added, then it can be used at once; when it is spoilt, the old one stays."""
    drawn = {"do": "test-pattern", "frame": "{frame}", "seconds": "{seconds}", "folder": "{folder}",
             "name": "{name}"}  # fmt: skip
    path = world.config / "job_types" / "sketch.json"
    path.write_bytes(orjson.dumps({**GOOD, "stages": [{"name": "draw", "commands": [drawn]}]}))
    until(lambda: "sketch" in farm.types.all())
    request = {"file": "data::demo/shots/sh010.blend", "frames": "1-2", "type": "sketch"}
    with pytest.raises(BadInput, match="seconds must be at most 9"):
        farm.submit("anna", {**request, "parameters": {"seconds": 10}})
    job_id = farm.submit("anna", {**request, "parameters": {"seconds": 1}}).id
    task = node.one()
    assert task["commands"][0]["seconds"] == 1
    path.write_bytes(orjson.dumps({**GOOD, "stages": [{"name": "draw", "per": "week"}]}))
    (problem,) = until(lambda: [p for p in farm.health.problems() if p.id == "job-type:sketch"])
    assert "config/job_types/sketch.json" in problem.text
    assert "stages[0].per" in problem.text
    assert farm.types.get("sketch").settings["seconds"].most == 9
    assert node.deliver(task)["id"] == "accepted"
    node.deliver(node.one())
    assert farm.view(job_id)["state"] == "done"


def test_computers_are_asked_for_the_programs_that_types_name(world: World, farm: Farm) -> None:
    path = world.config / "job_types" / "sketch.json"
    path.write_bytes(orjson.dumps({**GOOD, "stages": [{**GOOD["stages"][0], "programs": ["draw"]}]}))
    until(lambda: "sketch" in farm.types.all())
    node = Node(farm, "n1", world.root)
    node.say({"id": "info"})
    (told,) = node.say({"id": "info"})
    assert told["look_for"] == ["draw", "prman"]
    farm.submit("anna", {"file": "data::demo/shots/sh010.blend", "frames": "1", "type": "sketch"})
    assert node.ask() == []
    node.facts = {"programs": {"blender": "3.4.1", "draw": "", "prman": ""}}
    assert "look_for" not in node.say({"id": "info"})[0]
    assert node.ask()


def test_words_stand_for_values_and_groups_for_what_is_set() -> None:
    argv = ["x", "{frame}", "-o={folder}/a", ["-cam", "{camera}"], ["-w", "{width}"], "{more}", "{flag}"]
    values = {
        "frame": 7,
        "folder": "data::a b",
        "camera": None,
        "width": 5,
        "more": ["p", "{frame}"],
        "flag": True,
    }
    (command,) = fill([{"do": "run", "argv": argv, "least": "{frame}", "progress": ["{frame}"]}], values)
    assert command["argv"] == ["x", "7", "-o=data::a b/a", "-w", "5", "p", "7", "true"]
    assert (command["least"], command["progress"]) == (7, ["{frame}"])


def test_a_text_that_would_be_an_option_is_refused() -> None:
    job_type = parse("maya", json.loads((CLONE / "docs/job-types/maya.json").read_text()))
    with pytest.raises(BadInput, match="may not begin with a dash"):
        job_type.check_parameters({"camera": "-preRender evil"})


def test_a_renderman_job_is_read_as_its_tasks() -> None:
    job = alf.read(ALF)
    assert job.title == r"shot \{one\}"
    levels = alf.stages(job)
    assert [[unit.title for unit in level] for level in levels] == [
        ["Textures"], ["Frame 2", "Frame 1"], ["Tidy up"],
    ]  # fmt: skip
    assert levels[0][0].commands == [["txmake", "wood grain.tif", "wood.tex"]]
    two, one = levels[1]
    assert (two.frame, two.commands) == (
        2,
        [["ribdepends", "-v", "2.rib"], ["prman", "-t:0", "/mnt/x/2.rib"]],
    )
    assert (one.frame, one.commands[0][2]) == (1, "%D(1.rib)")


def test_a_renderman_job_counts_and_waits_as_it_says() -> None:
    """Given variables, an Iterate, and tasks that wait for others by name, then all of it is put in, and what
    waits stands in a later stage."""
    job = alf.read("""Job -title kitchen -init { Assign SIZE {-res ${W} 9} ; Assign TOOL txmake } -subtasks {
  Task {Frame 9 extra} -subtasks { Instance {nowhere} } -cmds { RemoteCmd {prman $UNKNOWN 9.rib} }
  Task {tex} -subtasks { Task {wood} -cmds { RemoteCmd {$TOOL wood.tif wood.tex} } -cleanup { Cmd {rm a} } }
  Iterate i -from 1 -to 5 -by 2 -template {
    Task "Frame $i" -subtasks { Instance tex } -cmds { RemoteCmd -argv {prman ${SIZE} $i.rib} -service {} }
  }
}""")
    assert [[(unit.title, unit.commands) for unit in level] for level in alf.stages(job)] == [
        [("Frame 9 extra", [["prman", "$UNKNOWN", "9.rib"]]), ("wood", [["txmake", "wood.tif", "wood.tex"]])],
        [(f"Frame {n}", [["prman", "-res ${W} 9", f"{n}.rib"]]) for n in (1, 3, 5)],
    ]


BOMB = "Assign a xxxxxxxx\n" + "Assign a $a$a$a$a$a$a$a$a\n" * 20


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Job -init {" + BOMB + "} -cmds {}", "make more than 16,777,216 characters"),
        (
            "Job -subtasks {" + "Iterate i -from 1 -to 20000 -template {" * 9 + "}" * 10,
            "more than 20,000 tasks",
        ),
        ("Job -subtasks {\n Iterate i -from 1 -to x -template {}\n}", "Line 2 .* the Iterate makes no sense"),
        ("", "holds one Job"),
        ("Job -title x", "no commands"),
        (
            "Job -subtasks {\n Task {a} -cmds {\n  RemoteCmd {prman} \n",
            "in line 1 of the job file is never closed",
        ),
        ("Job -subtasks {\n\n Tusk {a}\n}", "Line 3 of the job file: 'Tusk' is no Task"),
        ("Job -subtasks {\n Task {a} -cmds {\n\n  Run {x}\n }\n}", "Line 4 of the job file: 'Run'"),
        ("Job -subtasks {\n Task {a} -cmds\n}", "Line 2 of the job file: -cmds of Task has no value"),
        ('Job -title "x\n', "quotation mark in line 1"),
        ("Job -cmds {]}", "Line 1 .* wrong sign"),
        ("Job\n}", "Line 2 .* never opened"),
        ("Job -subtasks {" + "Task a -subtasks {" * 70 + "}" * 71, "nested deeper"),
    ],
)
def test_what_is_wrong_with_a_renderman_job_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(BadContent, match=told):
        alf.read(text)


@given(st.text(alphabet='{}[]"\\\n; -JTC#abc', max_size=200).map(lambda text: "Job -subtasks {" + text))
def test_any_renderman_job_is_read_or_refused(text: str) -> None:
    with suppress(CroftError):
        alf.stages(alf.read(text))


def test_a_renderman_job_becomes_tasks_for_both_kinds_of_node(world: World, farm: Farm) -> None:
    (world.root / "demo/shots/shot.alf").write_text(ALF.replace("/mnt/x", str(world.root / "demo")))
    world.farms[0][1].rescan()
    job_id = farm.submit("anna", {"file": "data::demo/shots/shot.alf", "output": "scene"}).id
    view = farm.view(job_id)
    assert (view["type"], view["frames"], view["total"]) == ("renderman-alf", "1-2", 4)
    old = Node(farm, "rfam", world.root, protocol=1)
    first = old.one()
    told = first["prmanCommands"]["commands"]["frames"]
    assert [c["command"] for found in told.values() for c in found] == ["txmake 'wood grain.tif' wood.tex"]
    old.say({"id": "done", "uuid": first["uuid"], "frame": first["frame"], "time": 1})
    ours = Node(farm, "n1", world.root)
    identity = {"id": "identity", "name": "n1", "version": "1", "protocol": 2, "programs": {"prman": ""},
                "paths": {"data": ""}, "provides": []}  # fmt: skip
    ask = {"id": "task", "paths": ["data"], "provides": [], "count": 2}
    tasks = [a for a in orjson.loads(farm.talk("n1", [identity, ask])) if a["id"] == "task"]
    assert [task["frame"] for task in tasks] == [1, 2]
    assert [c["argv"] for c in tasks[1]["commands"]] == [
        ["ribdepends", "-v", "2.rib"], ["prman", "-t:0", "data::demo/2.rib"],
    ]  # fmt: skip
    assert tasks[0]["commands"][0] == {
        "do": "run",
        "argv": ["prman", "-t:0", "1.rib"],
        "where": "data::demo/shots",
    }
    assert ours.name == "n1"
    for name, what in (("evil", "ribdepends -v"), ("tidy", "sho all.tif")):
        (world.root / f"demo/shots/{name}.alf").write_text(ALF.replace(what, "rm -rf /"))
    world.farms[0][1].rescan()
    tidied = farm.submit("anna", {"file": "data::demo/shots/tidy.alf"}).id
    assert farm.view(tidied)["total"] == 3, (
        "what tidies up by other programs is left out; output is the type's"
    )
    with pytest.raises(BadContent, match="runs 'rm': this kind of job runs"):
        farm.submit("anna", {"file": "data::demo/shots/evil.alf", "output": "scene"})
    many = "\n".join(
        f"Task {{Frame {n}}} -cmds {{RemoteCmd {{prman {'x' * 200}.{n}.rib}}}}" for n in range(12_000)
    )
    (world.root / "demo/shots/many.alf").write_text(f"Job -subtasks {{{many}}}")
    world.farms[0][1].rescan()
    with pytest.raises(BadContent, match="lists more than one job may hold"):
        farm.submit("anna", {"file": "data::demo/shots/many.alf", "output": "scene"})
