"""The house's order: who may import whom, what the node may need, what every template and key must have."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[1]

# Lowest first. A wing imports itself and those before it; a room imports the rooms before it in its wing.
WINGS = {
    wing: rooms.split()
    for wing, rooms in {
        "disk": "speech errors encoding records mistakes files settings paths backups conflicts faults locks "
        "sidecar journal merge sites histories edits branches probes moves health index snapshot mounts "
        "intents deletions renames checkpoints purge carry restores arrivals listing entries scan unchanged "
        "restart looks store inotify hearing identity watcher follower check",
        "library": "people media names projects search dependencies assets tasks ingest versions creation "
        "protection publishing saves in_place meant copies backups problems sites notes credits history "
        "uploads setup",
        "farm": "frames stages room failures policy job_types jobs scheduler nodes power statistics "
        "elsewhere committer reasons checks watching farm forgetting pruning",
        "web": "forms requests static session languages events following reel services said finding join "
        "trial due pages api do wire openapi tryout answers app serve",
        "cli": "",  # the commands of run.py, each for itself on the four wings
    }.items()
}
BLENDERS_OWN = {"bpy", "mathutils"}  # modules that only exist inside Blender
MODULES = sorted((CLONE / "server").rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module named by an import in this file, wherever it stands, absolute, with its line."""
    package = path.relative_to(CLONE).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem, node.lineno
            for alias in node.names:  # `from server.disk import paths` names a room
                yield f"{stem}.{alias.name}", node.lineno


def place(module: str) -> tuple[str, str] | None:
    """(wing, room) of a dotted name inside server/; the room is empty for the wing itself."""
    parts = module.split(".")
    if parts[0] != "server" or len(parts) < 2 or parts[1].startswith("__"):
        return None
    return parts[1], parts[2] if len(parts) > 2 else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CLONE / "server")))
def test_imports_go_down(path: Path) -> None:
    home = place(".".join(path.relative_to(CLONE).with_suffix("").parts))
    if home is None or home[0] == "__init__" or home[1] == "__init__":
        return
    wing, room = home
    order = list(WINGS)
    assert wing in order, f"server/{wing} is no wing of docs/architecture.md"
    if WINGS[wing]:
        assert room in WINGS[wing], f"the room {room} has no place in the order of WINGS[{wing!r}] here"
    for module, line in imports(path):
        target = place(module)
        if target is None:
            continue
        other_wing, other_room = target
        where = f"{path.relative_to(CLONE)}:{line} imports {module}"
        assert other_wing in order, f"{where}, which is no wing"
        assert order.index(other_wing) <= order.index(wing), f"{where}: {wing} stands below {other_wing}"
        rooms = WINGS[wing]
        if other_wing == wing and room in rooms and other_room in rooms:
            assert rooms.index(other_room) <= rooms.index(room), f"{where}: {room} stands below {other_room}"


@pytest.mark.parametrize("folder", ["node", "prenode"])
def test_needs_the_standard_library_only(folder: str) -> None:
    for path in sorted((CLONE / folder).rglob("*.py")):
        source = path.read_text("utf-8")
        ast.parse(source, str(path), feature_version=(3, 9))
        for module, line in imports(path):
            top = module.split(".")[0]
            known = top in sys.stdlib_module_names or top == folder or top in BLENDERS_OWN
            # A folder's own file, imported beside it when the folder was copied elsewhere.
            known = known or (path.parent / f"{top}.py").exists()
            assert known, f"{path.relative_to(CLONE)}:{line} needs {module}, which a node doesn't have"


def test_run_py_needs_the_standard_library_until_it_has_its_environment() -> None:
    tree = ast.parse((CLONE / "run.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert all(name.split(".")[0] in sys.stdlib_module_names for name in names), names


def test_every_template_escapes() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                "Environment",
                "SandboxedEnvironment",
            ):
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                escapes = getattr(given.get("autoescape"), "value", None)
                assert escapes is True, f"{path.relative_to(CLONE)}:{node.lineno}: autoescape=True"
    for path in sorted((CLONE / "templates").rglob("*.html")):
        text = path.read_text("utf-8").replace(" ", "")
        for way_out in ("|safe", "autoescapefalse", "Markup("):
            assert way_out not in text, f"{path.name} shows unescaped text"


def test_pages_load_nothing_from_elsewhere() -> None:
    for path in sorted((CLONE / "templates").rglob("*")):
        if path.suffix not in (".html", ".css", ".js"):
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            loads = any(word in line for word in ("src=", "@import", "url(", "fetch(", "<link", "import "))
            assert not (loads and ("http://" in line or "https://" in line)), f"{path.name}:{number}: {line}"


def test_every_key_of_the_configuration_is_documented() -> None:
    settings = pytest.importorskip("server.disk.settings")
    text = (CLONE / "docs" / "configuration.md").read_text("utf-8")
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    keys = set(settings.KEYS)
    assert keys <= documented, f"docs/configuration.md doesn't name {sorted(keys - documented)}"
    # The table of server.json stands alone under its heading: nothing in it that isn't a key.
    table = text.split("## server.json")[1].split("\n## ")[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named <= keys, f"docs/configuration.md names {sorted(named - keys)}, which nothing reads"


def test_every_key_of_a_node_is_documented() -> None:
    config = pytest.importorskip("node.config")
    lines = (CLONE / "docs" / "nodes.md").read_text("utf-8").splitlines()
    documented = {row.split("`")[1]: row.split("`")[3] for row in lines if row.startswith("| `")}
    assert documented == {name: json.dumps(default) for name, (default, _) in config.KEYS.items()}


def test_no_two_test_files_share_a_name() -> None:
    """In folders that are no packages pytest knows a module by its file's name alone and refuses a second."""
    seen: dict[str, Path] = {}
    for path in sorted((CLONE / "tests").rglob("test_*.py")):
        if not (path.parent / "__init__.py").exists():
            assert path.name not in seen, f"{path} and {seen[path.name]}: rename one"
            seen[path.name] = path
