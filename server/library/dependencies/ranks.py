"""RFAM's priority boosting: what others wait for rises above them. Pure.

An asset's true rank is its own priority or, where somebody who isn't final waits for it, just above the
highest rank of those: (their priority, their depth + 1). So it overtakes whoever waits for it and nobody
who is more urgent than they. Assets that wait for each other in a circle share one rank. What is fixed (its
state says that it doesn't rise, or its project that nothing does) keeps its own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

Rank = tuple[int, int]  # priority, and how many stand on it one above the other

MOST_DEPTH = 999


def ranks(
    own: Mapping[str, Rank],
    waits_for: Mapping[str, Iterable[str]],
    fixed: Container[str] = frozenset(),
) -> dict[str, Rank]:
    """The rank of each asset of `own`, which tells what it has by itself: (its priority, 0). `waits_for`
    names, for each that waits, what it waits for; what isn't in `own` (a final asset, a texture) takes no
    part. `fixed`: those that don't rise."""
    edges = {
        node: [other for other in dict.fromkeys(waits_for.get(node, ())) if other in own and other != node]
        for node in own
    }
    groups = components(edges)
    group_of = {node: number for number, group in enumerate(groups) for node in group}
    found = [max(own[node] for node in group) for group in groups]
    # Tarjan gives what is waited for before those who wait: backwards each comes after who waits for it.
    for number in range(len(groups) - 1, -1, -1):
        priority, depth = found[number]
        above = (priority, min(depth + 1, MOST_DEPTH))
        for node in groups[number]:
            for other in edges[node]:
                place = group_of[other]
                if place != number and above > found[place] and other not in fixed:
                    found[place] = above
    return {node: own[node] if node in fixed else found[group_of[node]] for node in own}


def components(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """The strongly connected components, each after those that it leads to (Tarjan, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in edges:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(edges[root]))]
        while work:
            node, children = work[-1]
            for child in children:
                if child not in order:
                    order[child] = low[child] = len(order)
                    stack.append(child)
                    on_stack.add(child)
                    work.append((child, iter(edges[child])))
                    break
                if child in on_stack:
                    low[node] = min(low[node], order[child])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    found.append(group)
    return found
