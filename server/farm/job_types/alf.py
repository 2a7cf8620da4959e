"""RenderMan's job files (.alf): their tasks, as lists of commands that nodes run.

The format is Tcl of a kind: words, {braces}, "quotes" and [brackets] that nest; a statement a line. Read are
`Job`, `Task`, `Cmd` and `RemoteCmd` with -title, -subtasks, -serialsubtasks, -cmds and -cleanup; what else
an option says is passed over. Nothing is evaluated. Tasks whose title names a frame ("Frame 12") are done by
one node, all their commands in order; others one by one. Serial subtasks, and the subtasks that a task's own
commands come after, become stages. Every depth, count and length is bounded; what is wrong is told with its
line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from server.disk.errors import BadContent

MAX_BYTES = 4 << 20
MAX_DEPTH = 60
MAX_TASKS = 20_000
MAX_COMMANDS = 100_000
MAX_STAGES = 40
MAX_ARGUMENTS = 2000

_FRAME = re.compile(r"\b(?:frame|f)[\s_#.:-]*0*(\d{1,7})\b", re.IGNORECASE)
_TASKS = ("Task", "Iterate", "Instance")
_CLOSES = {"{": "}", "[": "]"}


@dataclass(slots=True)
class Task:
    """One task of the file."""

    title: str
    line: int
    serial: bool = False
    subtasks: list[Task] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    cleanup: list[list[str]] = field(default_factory=list)

    @property
    def frame(self) -> int | None:
        """The frame that its title names."""
        found = _FRAME.search(self.title)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Unit:
    """What one node does: commands in order."""

    title: str
    frame: int | None
    commands: list[list[str]]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the file: what it says, where it stands, and whether it was in braces."""

    text: str
    line: int
    braced: bool = False


def read(text: str) -> Task:
    """The job as a tree of tasks; BadContent says what is wrong in which line."""
    if len(text) > MAX_BYTES:
        raise BadContent("The job file is longer than {max_bytes} MB.", max_bytes=MAX_BYTES >> 20)
    statements = [words for words in _statements(text, 1) if words[0].text == "Job"]
    if len(statements) != 1:
        raise BadContent(
            "A RenderMan job file holds one Job, this one has {statements}.", statements=len(statements)
        )
    counts = [0, 0]
    job = _task(statements[0], 0, counts, named=False)
    if not counts[1]:
        raise BadContent("The job file has no commands.")
    return job


def stages(job: Task) -> list[list[Unit]]:
    """The job's units, in stages that are done one after the other."""
    found = [level for level in _levels(job) if level]
    if job.cleanup:
        found.append([Unit("Tidy up", None, job.cleanup)])
    if len(found) > MAX_STAGES:
        raise BadContent(
            "The job file has more than {max_stages} steps that wait for each other.", max_stages=MAX_STAGES
        )
    return found


def _levels(task: Task) -> list[list[Unit]]:
    if task.frame is not None and task.subtasks:
        commands = list(_in_order(task))
        return [[Unit(task.title, task.frame, commands)]] if commands else []
    levels: list[list[Unit]] = []
    for child in task.subtasks:
        inner = _levels(child)
        if task.serial:
            levels += inner
            continue
        while len(levels) < len(inner):
            levels.append([])
        for level, units in zip(levels, inner, strict=False):
            level += units
    if task.commands:
        levels.append([Unit(task.title, task.frame, task.commands)])
    return levels


def _in_order(task: Task) -> Iterator[list[str]]:
    for child in task.subtasks:
        yield from _in_order(child)
    yield from task.commands


# Words and statements.


def _statements(text: str, line: int) -> Iterator[list[Word]]:
    """Each statement's words. A statement ends with its line, or with a semicolon."""
    at = 0
    words: list[Word] = []
    while at < len(text):
        sign = text[at]
        if sign in "\n;":
            if words:
                yield words
                words = []
            line += sign == "\n"
            at += 1
        elif sign.isspace():
            at += 1
        elif text.startswith("\\\n", at):
            line, at = line + 1, at + 2
        elif sign == "#" and not words:
            end = text.find("\n", at)
            at = end if end >= 0 else len(text)
        else:
            word, at, after = _word(text, at, line)
            words.append(word)
            line = after
    if words:
        yield words


def _word(text: str, at: int, line: int) -> tuple[Word, int, int]:
    sign = text[at]
    if sign in _CLOSES:
        end, after = _close(text, at, line)
        return Word(text[at + 1 : end], line, True), end + 1, after
    if sign == '"':
        return _quoted(text, at, line)
    if sign in "}]":
        raise BadContent("Line {line} of the job file closes a bracket that was never opened.", line=line)
    end = at
    while end < len(text) and not text[end].isspace() and text[end] not in ";}]":
        end += 2 if text[end] == "\\" and end + 1 < len(text) else 1
    return Word(_plain(text[at:end]), line), min(end, len(text)), line


def _close(text: str, at: int, line: int) -> tuple[int, int]:
    """Where the bracket that opens here is closed, and the line there. Counted, not nested in calls."""
    began, opened, stack = line, text[at], []
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            line += text[at + 1 : at + 2] == "\n"
            at += 2
            continue
        line += sign == "\n"
        if sign in _CLOSES:
            stack.append(_CLOSES[sign])
        elif sign in "}]":
            if stack[-1] != sign:
                raise BadContent(
                    "Line {line} of the job file closes a bracket with the wrong sign.", line=line
                )
            stack.pop()
            if not stack:
                return at, line
        at += 1
    raise BadContent(
        "The {opened} in line {began} of the job file is never closed.", opened=opened, began=began
    )


def _quoted(text: str, at: int, line: int) -> tuple[Word, int, int]:
    began, start, at = line, at + 1, at + 1
    while at < len(text) and text[at] != '"':
        line += text[at] == "\n"
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise BadContent("The quotation mark in line {began} of the job file is never closed.", began=began)
    return Word(_plain(text[start:at]), began), at + 1, line


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


# Tasks and commands.


def _task(words: list[Word], depth: int, counts: list[int], named: bool = True) -> Task:
    head = words[0]
    if depth > MAX_DEPTH:
        raise BadContent(
            "Line {line} of the job file: tasks are nested deeper than {max_depth}.",
            line=head.line,
            max_depth=MAX_DEPTH,
        )
    counts[0] += 1
    if counts[0] > MAX_TASKS:
        raise BadContent("The job file has more than {max_tasks:,} tasks.", max_tasks=MAX_TASKS)
    options = words[1:]
    task = Task("", head.line)
    if named and options and not options[0].text.startswith("-"):
        task.title, options = options[0].text, options[1:]
    for option, value in _options(options, head):
        if option == "-title":
            task.title = value.text
        elif option == "-serialsubtasks":
            task.serial = value.text.strip() not in ("0", "false", "no", "")
        elif option in ("-subtasks", "-init"):
            for inner in _statements(value.text, value.line):
                if inner[0].text not in _TASKS:
                    raise BadContent(
                        "Line {line} of the job file: {text} is no Task.",
                        line=inner[0].line,
                        text=repr(inner[0].text[:40]),
                    )
                if inner[0].text == "Task":
                    task.subtasks.append(_task(inner, depth + 1, counts))
        elif option == "-cmds":
            task.commands += _commands(value, counts)
        elif option == "-cleanup":
            task.cleanup += _commands(value, counts)
    return task


def _options(words: list[Word], head: Word) -> Iterator[tuple[str, Word]]:
    at = 0
    while at < len(words):
        word = words[at]
        if not word.text.startswith("-") or word.braced:
            raise BadContent(
                "Line {line} of the job file: {text} is no option.", line=word.line, text=repr(word.text[:40])
            )
        if at + 1 >= len(words):
            raise BadContent(
                "Line {line} of the job file: {text} of {head} has no value.",
                line=word.line,
                text=word.text[:40],
                head=head.text,
            )
        yield word.text, words[at + 1]
        at += 2


def _commands(block: Word, counts: list[int]) -> list[list[str]]:
    found = []
    for words in _statements(block.text, block.line):
        kind = words[0]
        if kind.text not in ("Cmd", "RemoteCmd"):
            raise BadContent(
                "Line {line} of the job file: {text} is no Cmd or RemoteCmd.",
                line=kind.line,
                text=repr(kind.text[:40]),
            )
        if len(words) < 2:
            raise BadContent("Line {line} of the job file: the command is missing.", line=kind.line)
        counts[1] += 1
        if counts[1] > MAX_COMMANDS:
            raise BadContent(
                "The job file has more than {max_commands:,} commands.", max_commands=MAX_COMMANDS
            )
        argv = [word.text for inner in _statements(words[1].text, words[1].line) for word in inner]
        if not argv or len(argv) > MAX_ARGUMENTS or any("\0" in part for part in argv):
            raise BadContent("Line {line} of the job file: the command makes no sense.", line=words[1].line)
        found.append(argv)
    return found
