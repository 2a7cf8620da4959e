#!/usr/bin/env python3
"""Croft's one entry point: `python3 run.py --help`.

Standard library only up to here. Commands that need more run in Croft's own virtual environment,
`.venv` in this folder (or `$CROFT_VENV`), made from requirements.txt the first time and whenever that
file changes. `node` needs none. The commands' bodies lie in server/cli/, one file each.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CLONE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("CROFT_VENV") or CLONE / ".venv")
OLDEST_PYTHON = (3, 11)
SETUP_STEPS = ("you", "pool", "samba", "people", "nodes", "render", "speed", "service", "backup")
# What pip calls the systems that Croft's packages come ready-made for: Debian 12's glibc takes all of these.
PLATFORMS = {
    machine: [f"{name}_{machine}" for name in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    for machine in ("aarch64", "x86_64")
}


class Trouble(Exception):
    """What went wrong and what to do, in one sentence."""


def main(arguments: Sequence[str]) -> int:
    parser = command_line()
    options, rest = parser.parse_known_args(with_default_command(arguments))
    if rest and options.command != "test":
        parser.error(f"unknown option {rest[0]}; python3 run.py {options.command} --help lists them")
    options.rest = rest
    try:
        if options.command == "node":
            sys.argv = ["node", *(["--config", options.config] if options.config else [])]
            runpy.run_path(str(CLONE / "node"), run_name="__main__")
            return 0
        if options.command == "prenode":
            named = [("--config", options.config), ("--wait", options.wait and str(options.wait))]
            sys.argv = ["prenode", *(part for pair in named if pair[1] for part in pair)]
            sys.argv += [f"--{flag}" for flag in ("check", "once") if getattr(options, flag)]
            runpy.run_path(str(CLONE / "prenode"), run_name="__main__")
            return 0
        if options.command == "wheels":
            return fetch_wheels(Path(options.folder), options.machine, options.python)
        for requirements in what_it_needs(options.command):
            enter_environment(requirements)
        return carry_out(options)
    except Trouble as trouble:
        print(f"run.py {options.command}: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def carry_out(options: argparse.Namespace) -> int:
    from server.disk.errors import CroftError

    try:
        command = importlib.import_module("server.cli." + options.command.replace("-", "_"))
        return int(command.run(options) or 0)
    except CroftError as error:
        raise Trouble(error.message) from error
    except OSError as error:
        raise Trouble(str(error)) from error  # it names the file and what was wrong with it


# ---- the command line


def with_default_command(arguments: Sequence[str]) -> list[str]:
    """`run.py --port 9000` means `run.py serve --port 9000`."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        return ["serve", *arguments]
    return list(arguments)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Croft: an asset manager and render farm whose only database is the file system.",
        epilog="Without a command: serve. Each command has --help of its own.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, summary: str, *, places: bool = True, server: bool = False
    ) -> argparse.ArgumentParser:
        sentence = summary[0].upper() + summary[1:] + "."
        made = commands.add_parser(name, help=summary, description=sentence)
        if places:
            made.add_argument("--config", metavar="DIR", help="configuration (default: var/config)")
            made.add_argument("--data", metavar="DIR", help="where the share 'data' lies (default: var/data)")
        if server:
            made.add_argument("--server", metavar="URL", help="the running server (default: this one)")
            made.add_argument("--token", help="a person's token (default: $CROFT_TOKEN)")
        return made

    serve = command("serve", "serve the pages, the API and the farm (the default)")
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=port, help="port to listen on, 0 for any free one (default: 8080)")
    serve.add_argument("--only", choices=("farm", "pages"), help="serve only the nodes, or only people")

    demo = command("demo", "show Croft at work: a server, a node, a scene, a render", places=False)
    demo.add_argument("--exit", action="store_true", help="check every step, then end: 0 if all went well")
    demo.add_argument("--nodes", type=count, metavar="N", help="a farm of N predictable nodes instead")
    demo.add_argument("--port", type=port, help="port of the demo's server (default: 8080, else a free one)")
    demo.add_argument("--fresh", action="store_true", help="begin with an empty demo folder")

    demo.add_argument("--in", dest="home", metavar="DIR", help="its folder (default: var/demo)")

    test = command("test", "install what the tests need; run ruff, mypy and pytest", places=False)
    test.add_argument("--soak", action="store_true", help="the long runs too")
    test.epilog = "Other arguments go to pytest: run.py test tests/disk -k journal"

    node = command("node", "render for a farm: what `python3 node` does, no environment needed", places=False)
    node.add_argument("--config", metavar="FILE", help="the node's config.json (default: beside the node)")

    prenode = command(
        "prenode", "start nodes on Slurm or another scheduler where the farm wants some", places=False
    )
    prenode.add_argument("--config", metavar="FILE", help="its config.json (default: beside the prenode)")
    prenode.add_argument("--check", action="store_true", help="try every machine over there, start nothing")
    prenode.add_argument("--wait", metavar="SECONDS", type=int, help="how long a check waits (default: 300)")
    prenode.add_argument("--once", action="store_true", help="look once, do what follows, end")

    token = command("token", "make a token: for a person's programs, or for a node")
    token.add_argument("user", nargs="?", help="whose token")
    token.add_argument("--node", metavar="NAME", help="a node's token, bound to its name; '*' for a group")

    user = command("user", "people and their passwords")
    actions = user.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a person, with a password from standard input or a prompt")
    add.add_argument("name")
    add.add_argument("--role", default="student", choices=("guest", "student", "supervisor", "admin"))
    add.add_argument("--title", help="the name to show (default: the name)")
    add.add_argument("--system", help="their login name, where it differs: its files are theirs")
    add.add_argument("--project", action="append", metavar="NAME", help="a project they are in; repeat it")
    add.add_argument("--pin", action="store_true", help="four to eight digits instead of a password")
    add.add_argument("--no-password", action="store_true", help="sign-in by name alone, or by token")
    others = [
        actions.add_parser(name, help=summary)
        for name, summary in (
            ("password", "set a password, from standard input or a prompt"),
            ("pin", "set a PIN of four to eight digits, likewise"),
            ("tap", "take password and PIN away: a tap is enough"),
            ("off", "switch somebody off: no sign-in, all else as it was"),
            ("on", "switch somebody on again"),
            ("remove", "take somebody out; their files stay"),
        )
    ]
    for action in others:
        action.add_argument("name")
    for action in (add, *others, actions.add_parser("list", help="who is there, and how they sign in")):
        action.add_argument("--config", metavar="DIR", default=argparse.SUPPRESS, help="configuration")

    submit = command("submit", "submit a job for a file", server=True)
    submit.add_argument("file", help="its address (data::demo/shots/sh010.blend) or its path on a share here")
    submit.add_argument("--frames", help="such as 1-24, 1-100x5 or 1,5,9-12 (default: the scene's range)")
    submit.add_argument("--output", choices=("version", "scene"), help="default: version")
    submit.add_argument("--type", help="job type (default: what fits the file)")
    submit.add_argument("--priority", type=int, help="1 to 5")
    submit.add_argument("--name", help="what to call it (default: the file's name)")
    submit.add_argument("--user", help="whose it shall be, where supervisors submit for others")
    submit.add_argument("--renderer", help="cycles, eevee, workbench, or a job type")
    submit.add_argument("--step", type=int, help="with --frames: every so many frames")
    submit.add_argument("--chunk-size", type=int, help="frames that a computer takes at once")
    submit.add_argument("--xres", type=int, help="width in pixels")
    submit.add_argument("--yres", type=int, help="height in pixels")
    submit.add_argument("--camera", help="the name of a camera in the file")
    submit.add_argument(
        "--out-path", help="the folder of this file's renders, or the scene's own output path"
    )
    submit.add_argument("--key", help="idempotency key: asked again with it, it is the same job for a week")
    submit.add_argument("--wait", action="store_true", help="show progress until the job has ended")

    where = command("where", "say where each render may run and why, and try other rules out", server=True)
    where.add_argument("job", nargs="?", default="", help="only this one, by its id")
    where.add_argument("--rules", metavar="FILE", help="what these would decide; nothing is changed")
    where.add_argument(
        "--suppose",
        metavar="NAME=VALUE,…",
        help="of a render that isn't there, such as project=green,frames=60,slots=2,hours=5,seconds=600",
    )

    def of_file(name: str, summary: str) -> argparse.ArgumentParser:
        made = command(name, summary, server=True)
        made.add_argument(
            "file", help="its address (data::demo/shots/sh010.blend) or its path on a share here"
        )
        return made

    comment = "what it is, for whoever looks later"
    of_file("checkpoint", "keep the present content of a file").add_argument(
        "--comment", default="", help=comment
    )
    publish = command(
        "publish",
        "freeze files as their next versions, or publish a folder's image sequences as they lie",
        server=True,
    )
    publish.add_argument(
        "file", nargs="+", help="addresses (data::demo/shots/sh010.blend) or paths on a share here"
    )
    publish.add_argument("--comment", default="", help=comment)
    publish.add_argument(
        "--yes", action="store_true", help="don't ask: despite warnings; of a folder all that is new"
    )
    publish.add_argument("--here", action="store_true", help="of a folder: not of those below it")
    publish.add_argument("--dry-run", action="store_true", help="of a folder: only list its image sequences")
    of_file("saves", "list what a file can be brought back to")
    restore = of_file("restore", "bring an earlier save of a file back, or a deletion by its folder in old/")
    restore.add_argument("save", nargs="?", help="its id, as 'saves' lists it")
    restore.add_argument("--beside", action="store_true", help="under a free name in the same folder instead")
    restore.add_argument("--record", action="store_true", help="what people had said of it then, too")
    of_file("delete", "move a file and all that is known of it to old/")

    versions = of_file("versions", "list a file's versions, published and rendered")
    versions.add_argument("--unapproved", action="store_true", help="renders that nobody has approved, too")
    approve = of_file("approve", "approve a version of a file, or reject it")
    approve.add_argument("version", help="its id, as 'versions' lists it: v002, render-v003")
    approve.add_argument("--reject", action="store_true", help="reject it instead")
    approve.add_argument("--undo", action="store_true", help="take the approval or the rejection back")
    approve.add_argument("--comment", default="", help="what whoever made it should know")
    prune = command("prune", "show the renders that nobody needs any more; put them away", server=True)
    prune.add_argument("--project", help="only this one's")
    prune.add_argument("--yes", action="store_true", help="move them to old/, from where each can come back")
    prune.add_argument("--kept", action="store_true", help="list those that stay, too, and why")
    purge = command("purge", "delete for good what lies in old/ for long")
    purge.add_argument("share", nargs="*", help="only these shares")
    purge.add_argument("--older-than", required=True, metavar="AGE", help="30d, 12h, 6w, 1y")
    purge.add_argument("--saves", action="store_true", help="earlier saves that were kept, too")
    purge.add_argument("--dry-run", action="store_true", help="only say what it would free")

    setup = command("setup", "set Croft up, step by step: what is wrong, and what mends it", server=True)
    setup.add_argument("step", nargs="?", choices=SETUP_STEPS, help="only this one (default: all)")
    setup.add_argument("value", nargs="?", help="the folder (pool, backup) or the class list (people)")
    setup.add_argument("--user", metavar="NAME", help="Croft's user (default: the configuration's owner)")
    setup.add_argument("--student", metavar="NAME", help="samba: try this login; its password is asked for")
    setup.add_argument("--share", metavar="NAME", help="samba: what Samba calls the folder")
    setup.add_argument("--called", metavar="ADDRESS", help=r"samba: what students call it: \\nas\film")
    setup.add_argument("--samba-port", type=port, default=445, help=argparse.SUPPRESS)
    setup.add_argument("--dry-run", action="store_true", help="people: only say what would be done")
    setup.add_argument("--write", metavar="DIR", help="service, backup: write the units there")
    setup.add_argument("--practise", action="store_true", help="backup: lose a file and bring it back")

    people = command("import-csv", "add a class: a list of name, ident, role, one person a line")
    people.add_argument("file", help="the list as CSV, '-' for standard input")
    people.add_argument("--dry-run", action="store_true", help="only say what would be done")

    forget = command(
        "forget", "take a person's name out of everything that Croft wrote, for good", server=True
    )
    forget.add_argument("user", help="the person's short name")
    forget.add_argument(
        "--credits", choices=("keep", "remove"), help="their name there (default: as they said)"
    )
    forget.add_argument("--yes", action="store_true", help="don't ask")

    wheels = command("wheels", "fetch what Croft needs, to install it without internet", places=False)
    wheels.add_argument("folder", help="where to; name it in CROFT_WHEELS, or put it beside run.py")
    wheels.add_argument("--machine", choices=sorted(PLATFORMS), help="for another kind of computer")
    wheels.add_argument("--python", metavar="3.11", help="for another version of Python")

    check = command("check", "walk the shares and report every fault, with its path and what to do")
    check.add_argument("share", nargs="*", help="only these shares")
    check.add_argument("--speed", action="store_true", help="instead: how fast the disks are")
    back = command("restore-backup", "put a file, a folder or a whole share back from a backup")
    back.add_argument("address", nargs="?", help="data::green/shots, or its path; data:: is the whole share")
    back.add_argument("--at", metavar="TIME", help="14:10, '2026-11-22 14:10' or a backup's name")
    back.add_argument("--from", metavar="DIR", help="the backups (default: backup.path of server.json)")
    back.epilog = "Without an address: which backups there are."
    rescan = command("rescan", "let the running server look at every file again", server=True)
    rescan.add_argument("share", nargs="?", help="only this share")
    return parser


def port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a port: a number from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of nodes from 1 to 1000")
    return int(text)


# ---- the virtual environment


def what_it_needs(command: str) -> list[str]:
    """The lists of packages of a command. On CI the tests try Blender as a package, too: 370 MB."""
    if command != "test":
        return ["requirements.txt"]
    packaged = os.environ.get("CI") and sys.version_info[:2] == (3, 11)  # the one Python it is made for
    return ["requirements-test.txt", *(["requirements-blender.txt"] if packaged else [])]


def enter_environment(requirements: str) -> None:
    """Go on in the virtual environment that has what this file lists, made first where it isn't there."""
    python = VENV / "bin" / "python"
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if inside and "CROFT_VENV" in os.environ:
        return  # whoever names an environment and runs in it looks after it
    if not is_ready(requirements):
        make_environment(requirements)
    if not inside:
        sys.stdout.flush()
        os.execv(python, [str(python), str(CLONE / "run.py"), *sys.argv[1:]])


def is_ready(requirements: str) -> bool:
    stamp = VENV / f"croft-{requirements}.sha256"
    python = VENV / "bin" / "python"
    try:
        return stamp.read_text() == fingerprint(requirements) and python.exists()
    except OSError:
        return False


def fingerprint(requirements: str) -> str:
    return hashlib.sha256((CLONE / requirements).read_bytes()).hexdigest()


def make_environment(requirements: str) -> None:
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        raise Trouble(f"Croft's server needs Python {wanted} or newer; this is {sys.version.split()[0]}.")
    import fcntl  # not at the top: `node` runs where there is none

    # One at a time: two commands started together would install over each other.
    folder = os.open(CLONE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if is_ready(requirements):
            return
        say(f"Installing what Croft needs into {VENV} (once) …")
        pip = usable_pip()
        # --no-deps: the file names every package, or the hash of one would be missing anyway.
        install = [*pip, "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps"]
        brought = wheels_brought_along(requirements)
        install += ["--no-index", "--find-links", str(brought)] if brought else []
        done = subprocess.run([*install, "--require-hashes", "-r", str(CLONE / requirements)], check=False)
        if done.returncode and brought:
            ours = ".".join(map(str, sys.version_info[:2]))
            raise Trouble(
                f"{brought} has not all that {requirements} names for this computer and Python {ours}; "
                "'run.py wheels DIR' fetches it where there is internet."
            )
        if done.returncode:
            raise Trouble(f"pip could not install {requirements}; its message stands above.")
        (VENV / f"croft-{requirements}.sha256").write_text(fingerprint(requirements))
    finally:
        os.close(folder)


def wheels_brought_along(requirements: str) -> Path | None:
    """The folder of packages to install from, instead of the internet; None without one."""
    named = os.environ.get("CROFT_WHEELS")
    if named:
        if not Path(named).is_dir():
            raise Trouble(f"CROFT_WHEELS names {named}, and there is no such folder.")
        return Path(named).resolve()
    beside = CLONE / "wheels"  # filled by `run.py wheels`, which knows nothing of the tests' packages
    return beside if requirements == "requirements.txt" and beside.is_dir() else None


def fetch_wheels(folder: Path, machine: str | None, python: str | None) -> int:
    """Fill a folder with every package of requirements.txt, checked by its hash."""
    command = [*usable_pip(), "download", "-q", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(folder)]
    if machine or python:
        for platform in PLATFORMS[machine or os.uname().machine]:
            command += ["--platform", platform]
        command += ["--implementation", "cp"]
        command += ["--python-version", python or ".".join(map(str, sys.version_info[:2]))]
    folder.mkdir(parents=True, exist_ok=True)
    say(f"Fetching what Croft needs into {folder} …")
    done = subprocess.run([*command, "-r", str(CLONE / "requirements.txt")], check=False)
    if done.returncode:
        raise Trouble("pip could not fetch everything; its message stands above.")
    count = sum(1 for path in folder.iterdir() if path.suffix == ".whl")
    print(f"{count} packages are in {folder}. There: CROFT_WHEELS={folder.resolve()} python3 run.py")
    return 0


def usable_pip() -> list[str]:
    """The command that installs into the environment, which is made first where it isn't whole."""
    python = str(VENV / "bin" / "python")
    base = getattr(sys, "_base_executable", sys.executable)
    own = [python, "-m", "pip"]
    # Debian keeps ensurepip in a package of its own; a pip beside the system's Python will do as well.
    foreign = [base, "-m", "pip", "--python", python]
    if works([*own, "--version"]):
        return own
    if works([python, "-c", ""]) and works([*foreign, "--version"]):
        return foreign
    shutil.rmtree(VENV, ignore_errors=True)
    if works([base, "-c", "import ensurepip, venv"]) and works([base, "-m", "venv", str(VENV)]):
        return own
    shutil.rmtree(VENV, ignore_errors=True)
    if works([base, "-m", "venv", "--without-pip", str(VENV)]) and works([*foreign, "--version"]):
        return foreign
    if install_debian("python3-venv") and works([base, "-m", "venv", "--clear", str(VENV)]):
        return own
    raise Trouble("Python can't make a virtual environment: 'sudo apt install python3-venv', then again.")


def install_debian(package: str) -> bool:
    """Install one of Debian's packages, where this is Debian and we are root; True if it's there now."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say(f"Installing Debian's package {package} …")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    for update_first in (False, True):
        if update_first and not works(["apt-get", "update", "-qq"]):
            return False
        if works(command, environment):
            return True
    return False


def works(command: Sequence[str], environment: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
