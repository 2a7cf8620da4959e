"""RenderMan's job files (.alf): their tasks, as lists of commands that nodes run.

The format is Tcl of a kind: words, {braces}, "quotes" and [brackets] that nest; a statement a line. Read are
`Job`, `Task`, `Cmd` and `RemoteCmd` with -title, -subtasks, -serialsubtasks, -cmds and -argv, a job's
-cleanup (a task's own isn't done: what it deletes is needed to render a frame again), `Assign` and `Iterate`,
whose $variables are put in, and `Instance`, which waits for another task; what else an option says is passed
over.
Nothing is evaluated. Tasks whose title names a frame ("Frame 12") are done by one node, all their commands in
order; others one by one. Serial subtasks, and the subtasks that a task's own commands come after, become
stages. Every depth, count and length is bounded; what is wrong is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from server.disk.errors import BadContent
from server.disk.speech import key

MAX_BYTES = 4 << 20
MAX_DEPTH = 60
MAX_TASKS = 20_000
MAX_COMMANDS = 100_000
MAX_STAGES = 40
MAX_ARGUMENTS = 2000

_MOST = (MAX_TASKS, MAX_COMMANDS, 4 * MAX_BYTES)
_TOO_MANY = (
    key("The job file has more than {most:,} tasks."),
    key("The job file has more than {most:,} commands."),
    key("The job file's variables and Iterates make more than {most:,} characters."),
)
_FRAME = re.compile(r"\b(?:frame|f)[\s_#.:-]*0*(\d{1,7})\b", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w{1,100})\}|(\w{1,100}))")
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
    instance: bool = False  # it stands for the task of its title, which stands elsewhere in the file

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
    tidies: bool = False  # up after the job: it can do without


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
    counts = [0, 0, 0]  # tasks, commands, characters that variables and Iterates made
    job = _task(statements[0], 0, counts, {}, named=False)
    if not counts[1]:
        raise BadContent("The job file has no commands.")
    return job


def stages(job: Task) -> list[list[Unit]]:
    """The job's units, in stages that are done one after the other."""
    levels: list[list[Unit]] = []
    _lay(job, 0, levels, {})
    found = [level for level in levels if level]
    if job.cleanup:
        found.append([Unit("Tidy up", None, job.cleanup, True)])
    if len(found) > MAX_STAGES:
        raise BadContent(
            "The job file has more than {max_stages} steps that wait for each other.", max_stages=MAX_STAGES
        )
    return found


def _lay(task: Task, start: int, levels: list[list[Unit]], ends: dict[str, int]) -> int:
    """Put a task's units into their levels, from `start` on: the level that what waits for it begins at.
    `ends`: the same of the tasks before, by their titles."""
    if task.instance:
        return max(start, ends.get(task.title, start))
    at, whole = start, task.frame is not None and bool(task.subtasks)
    for child in () if whole else task.subtasks:
        end = _lay(child, at if task.serial else start, levels, ends)
        at = max(at, end)
    inner = list(_inside(task)) if whole else []
    for one in inner:
        at = max(at, ends.get(one.title, at)) if one.instance else at
    commands = list(_in_order(task)) if whole else task.commands
    if commands:
        while len(levels) <= at:
            levels.append([])
        levels[at].append(Unit(task.title, task.frame, commands))
        at += 1
    for one in (task, *inner):
        if not one.instance:
            ends[one.title] = max(at, ends.get(one.title, 0))
    return at


def _inside(task: Task) -> Iterator[Task]:
    for child in task.subtasks:
        yield child
        yield from _inside(child)


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
        named = _VARIABLE.match(text, end)
        if named is not None:
            end = named.end()
        else:
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


def _task(
    words: list[Word], depth: int, counts: list[int], variables: Mapping[str, str], named: bool = True
) -> Task:
    head = words[0]
    if depth > MAX_DEPTH:
        raise BadContent(
            "Line {line} of the job file: tasks are nested deeper than {max_depth}.",
            line=head.line,
            max_depth=MAX_DEPTH,
        )
    _count(counts, 0, 1)
    options = words[1:]
    variables = dict(variables)
    task = Task("", head.line, instance=head.text == "Instance")
    if named and options and not options[0].text.startswith("-"):
        task.title, options = _put_in(options[0].text, variables, counts), options[1:]
    for option, value in _options(options, head):
        if option == "-title":
            task.title = _put_in(value.text, variables, counts)
        elif option == "-serialsubtasks":
            task.serial = value.text.strip() not in ("0", "false", "no", "")
        elif option in ("-subtasks", "-init"):
            task.subtasks += _tasks(value, depth, counts, variables)
        elif option == "-cmds":
            task.commands += _commands(value, counts, variables)
        elif option == "-cleanup":
            task.cleanup += _commands(value, counts, variables)
    return task


def _tasks(block: Word, depth: int, counts: list[int], variables: dict[str, str]) -> Iterator[Task]:
    """A block's tasks. What it assigns is added to `variables`."""
    if depth > MAX_DEPTH:
        raise BadContent(
            "Line {line} of the job file: tasks are nested deeper than {max_depth}.",
            line=block.line,
            max_depth=MAX_DEPTH,
        )
    for words in _statements(block.text, block.line):
        head = words[0]
        if head.text in ("Task", "Instance"):
            yield _task(words, depth + 1, counts, variables)
        elif head.text == "Assign" and len(words) == 3:
            variables[words[1].text] = _put_in(words[2].text, variables, counts)
        elif head.text == "Iterate" and len(words) > 1:
            given = dict(_options(words[2:], head))
            template = given.get("-template", Word("", head.line))
            for number in _numbers(given, head, variables, counts):
                _count(counts, 0, 1)
                _count(counts, 2, len(template.text))
                yield from _tasks(template, depth + 1, counts, {**variables, words[1].text: str(number)})
        else:
            raise BadContent(
                "Line {line} of the job file: {text} is no Task.", line=head.line, text=repr(head.text[:40])
            )


def _numbers(given: Mapping[str, Word], head: Word, variables: Mapping[str, str], counts: list[int]) -> range:
    """What an Iterate counts through."""
    told = [
        _put_in(given[option].text, variables, counts) if option in given else default
        for option, default in (("-from", ""), ("-to", ""), ("-by", "1"))
    ]
    try:
        first, last, by = (int(text) for text in told)
        numbers = range(first, last + (1 if by > 0 else -1), by)
    except ValueError:
        numbers = range(0)
    if not 0 < len(numbers) <= MAX_TASKS:
        raise BadContent("Line {line} of the job file: the Iterate makes no sense.", line=head.line)
    return numbers


def _put_in(text: str, variables: Mapping[str, str], counts: list[int]) -> str:
    """The text with the values of its $variables; those that nobody assigned stay as they are."""
    if "$" not in text or not variables:
        return text

    def value(found: re.Match[str]) -> str:
        told = variables.get(found[1] or found[2], found[0])
        _count(counts, 2, len(told))
        return told

    return _VARIABLE.sub(value, text)


def _count(counts: list[int], which: int, more: int) -> None:
    counts[which] += more
    if counts[which] > _MOST[which]:
        raise BadContent(_TOO_MANY[which], most=_MOST[which])


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


def _commands(block: Word, counts: list[int], variables: Mapping[str, str]) -> list[list[str]]:
    found = []
    for words in _statements(block.text, block.line):
        kind = words[0]
        if kind.text not in ("Cmd", "RemoteCmd"):
            raise BadContent(
                "Line {line} of the job file: {text} is no Cmd or RemoteCmd.",
                line=kind.line,
                text=repr(kind.text[:40]),
            )
        told = words[1:]
        if len(told) > 1 and told[0].text == "-argv":
            told = told[1:]
        if not told:
            raise BadContent("Line {line} of the job file: the command is missing.", line=kind.line)
        _count(counts, 1, 1)
        statements = _statements(told[0].text, told[0].line)
        argv = [_put_in(word.text, variables, counts) for inner in statements for word in inner]
        if not argv or len(argv) > MAX_ARGUMENTS or any("\0" in part for part in argv):
            raise BadContent("Line {line} of the job file: the command makes no sense.", line=told[0].line)
        found.append(argv)
    return found
