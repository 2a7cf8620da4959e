"""A student's keyboard comes first: who sees it, and what a renderer does meanwhile."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm, until

from node.config import Seat, read_seats
from node.figures import figures, load_now, temperature_c
from node.hardware import gpus
from node.keyboard import Devices, Interrupts, Keyboard, terminals

COUNTING = "import time\nfor n in range(10**6): print('line', n, flush=True); time.sleep(0.02)"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def at_the_keyboard(farm: Farm, somebody: bool) -> None:
    fresh = farm.folder / "idle.new"
    fresh.write_text("0" if somebody else "99999")
    os.replace(fresh, farm.folder / "idle")


def workstation(farm: Farm, **more: Any) -> Any:
    if not (farm.folder / "idle").exists():
        at_the_keyboard(farm, False)
    return farm.node(idle_command=f"cat {farm.folder}/idle", idle_minutes=5, **more)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def counting(farm: Farm) -> int:
    """A program that runs on and on; its process."""
    script = "import os; open('pid.new', 'w').write(str(os.getpid())); os.rename('pid.new', 'pid')\n"
    argv = [sys.executable, "-c", f"import os; os.chdir({str(farm.folder)!r})\n{script}{COUNTING}"]
    farm.give(farm.task("a1", do="run", argv=argv))
    return int(until(lambda: (farm.folder / "pid").exists() and (farm.folder / "pid").read_text()))


def test_takes_no_work_while_somebody_is_there_and_says_so(farm: Farm) -> None:
    at_the_keyboard(farm, True)
    farm.give(farm.task("a1"))
    workstation(farm, idle_only=True)
    farm.server.wait(lambda: len(farm.server.of("info")) > 3)
    assert farm.server.of("info")[-1]["at_keyboard"] is True
    assert not farm.server.of("task")
    farm.server.info["heartbeat"] = 60  # what changes is said at once
    beats = len(farm.server.of("info"))
    farm.server.wait(lambda: len(farm.server.of("info")) > beats)
    at_the_keyboard(farm, False)
    farm.server.wait(lambda: farm.server.of("done"))
    assert farm.server.of("info")[-1]["at_keyboard"] is False


def test_a_renderer_stands_still_until_they_have_gone(farm: Farm) -> None:
    workstation(farm, idle_only=True)
    pid = counting(farm)
    at_the_keyboard(farm, True)
    until(lambda: state_of(pid) == "T")
    at_the_keyboard(farm, False)
    until(lambda: state_of(pid) in "SR")
    assert not farm.server.of("release")


def test_no_time_passes_for_a_frame_that_stands_still(farm: Farm) -> None:
    workstation(farm, idle_only=True)
    argv = [sys.executable, "-c", "import time; time.sleep(2)"]
    farm.give({**farm.task("a1", do="run", argv=argv), "timeout": 4})
    farm.server.wait(lambda: farm.server.of("report"))
    at_the_keyboard(farm, True)
    farm.server.wait(lambda: farm.server.of("info")[-1].get("at_keyboard"))
    beats = len(farm.server.of("info"))
    farm.server.wait(lambda: len(farm.server.of("info")) > beats + 11)
    at_the_keyboard(farm, False)
    farm.server.wait(lambda: farm.server.of("done") or farm.server.of("failed"))
    assert farm.server.of("done"), farm.server.of("failed")


def test_a_renderer_steps_back(farm: Farm) -> None:
    workstation(farm, when_used="lower")
    pid = counting(farm)
    before = os.getpriority(os.PRIO_PROCESS, pid)
    at_the_keyboard(farm, True)
    until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 19)
    at_the_keyboard(farm, False)
    if os.geteuid() == 0:
        until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == before)


def test_a_frame_is_given_back(farm: Farm) -> None:
    workstation(farm, when_used="give back")
    pid = counting(farm)
    at_the_keyboard(farm, True)
    released = farm.server.wait(lambda: farm.server.of("release"))
    assert released[0]["uuid"] == "a1"
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert not farm.server.of("failed")


def test_input_devices_are_read_where_they_may_be(tmp_path: Path) -> None:
    clock = Clock()
    os.mkfifo(tmp_path / "event0")
    probe = Devices(str(tmp_path / "event*"), clock)
    assert probe() == 0.0
    keeper = os.open(tmp_path / "event0", os.O_WRONLY)
    clock.now += 400
    assert probe() == 400
    os.write(keeper, b"\0" * 24)
    assert probe() == 0.0
    clock.now += 7
    assert probe() == 7
    os.close(keeper)  # unplugged
    assert probe() == 7
    assert Devices(str(tmp_path / "none*"), clock)() is None


def test_keyboards_interrupts_and_terminals(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "interrupts"
    text = "  1:  {}  0  IO-APIC  1-edge  i8042\n 24:  {}  0  PCI-MSI  xhci_hcd\n"
    file.write_text(text.format(7, 1))
    probe = Interrupts(str(file), clock)
    assert probe() == 0.0
    clock.now += 50
    file.write_text(text.format(7, 999))  # a disk at the USB controller
    assert probe() == 50
    file.write_text(text.format(9, 999))
    assert probe() == 0.0
    assert Interrupts(str(tmp_path / "none"), clock)() is None
    terminal = tmp_path / "pts"
    terminal.write_text("")
    os.chown(terminal, 12345, -1) if os.geteuid() == 0 else None
    os.utime(terminal, (1000, 1000))
    assert terminals([str(terminal)], wall=lambda: 1060.0) == (60.0 if terminal.stat().st_uid else None)


def test_the_least_of_what_the_probes_say_counts_and_broken_ones_do_not() -> None:
    told: list[bool] = []
    idle: list[float | None] = [900.0, None]

    def broken() -> float:
        raise RuntimeError("no")

    keyboard = Keyboard(300, [lambda: idle[0], lambda: idle[1], broken])
    keyboard.subscribe(told.append)
    keyboard.look()
    assert (keyboard.known(), told) == (True, [])
    idle[1] = 299.0
    keyboard.look()
    keyboard.look()
    assert told == [True]
    idle[1] = 301.0
    keyboard.look()
    assert told == [True, False]
    nobody = Keyboard(300, [broken])
    nobody.look()
    assert not nobody.known()


def test_figures_are_read_where_the_system_tells_them(tmp_path: Path) -> None:
    thermal = tmp_path / "sys/class/thermal/thermal_zone0"
    thermal.mkdir(parents=True)
    (thermal / "type").write_text("acpitz\n")
    (thermal / "temp").write_text("99000\n")
    assert temperature_c(tmp_path) == 99.0
    chip = tmp_path / "sys/class/hwmon/hwmon1"
    chip.mkdir(parents=True)
    (chip / "name").write_text("k10temp\n")
    (chip / "temp1_input").write_text("61500\n")
    (chip / "temp2_input").write_text("-273000\n")
    assert temperature_c(tmp_path) == 61.5
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048000 kB\n")
    (tmp_path / "proc/loadavg").write_text("1.50 1.00 0.50 1/99 1234\n")
    assert figures(tmp_path) == {"load": 1.5, "memory_free_mb": 2000, "temperature_c": 61.5}
    assert load_now() is not None
    nvidia = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    nvidia.mkdir(parents=True)
    (nvidia / "information").write_text("Model: \t\t NVIDIA RTX A2000\nIRQ: 5\n")
    card = tmp_path / "sys/class/drm/card1/device"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x1002\n")
    (card / "mem_info_vram_total").write_text(str(8 << 30))
    assert gpus(tmp_path) == [{"name": "NVIDIA RTX A2000"}, {"name": "AMD GPU", "memory_mb": 8192}]


def test_a_slots_renderer_sees_its_gpu_alone(farm: Farm) -> None:
    code = "import os; print('GPU', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)"
    tasks = [farm.task(f"a{n}", n, do="run", argv=[sys.executable, "-c", code]) for n in range(3)]
    tasks[0]["requires"] = ["gpu"]
    farm.give(*tasks)
    farm.node(processes=[{"gpu": 3, "threads": 1}])
    farm.server.wait(lambda: len({m["uuid"] for m in farm.server.of("done")}) == 3)
    assert {done["output"][0][1] for done in farm.server.of("done") if done["output"]} == {"GPU 3\n"}
    assert farm.server.of("task")[0]["provides"] == ["gpu"]


def test_a_frame_that_needs_a_gpu_comes_for_a_slot_with_one(farm: Farm) -> None:
    farm.node(processes=[1, {"gpu": 0}])
    asked = farm.server.wait(lambda: len(farm.server.of("task")) > 5 and farm.server.of("task"))
    assert {(tuple(request["provides"]), request["count"]) for request in asked} == {(("gpu",), 1), ((), 1)}


@pytest.mark.parametrize("wrong", [[], [-1], [{"gpu": "a"}], [{"gpus": 1}], "2", [True], None])
def test_wrong_slots_are_told(wrong: Any) -> None:
    from node.config import ConfigError

    with pytest.raises(ConfigError, match='"processes" must be a list'):
        read_seats(wrong, "config.json")
    assert read_seats(2, "") == [Seat(), Seat()]
    assert Seat(gpu=1).environment()["CUDA_VISIBLE_DEVICES"] == "1"
