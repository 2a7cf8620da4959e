"""Logo, colours and templates of one's own, by files in the configuration."""

from __future__ import annotations

from house import House


def test_a_logo_and_colours_of_ones_own(house: House) -> None:
    student = house.browser("student")
    before = student.get("/p/demo/new").body.decode()
    assert "g-mark" in before
    assert student.get("/static/colours.css").status == 404
    own = house.config / "static"
    (own / "icons").mkdir(parents=True)
    (own / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (own / "colours.css").write_text(":root { --link: #804000; }")
    (own / "icons/done.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' id='ours'/>")
    after = student.get("/p/demo/new").body.decode()
    assert '<img src="/static/logo.svg?v=' in after
    assert after.count('rel="stylesheet"') == 1  # colours come with it
    sheet = student.get(after.partition('stylesheet" href="')[2].partition('"')[0])
    assert sheet.body.decode().endswith(":root { --link: #804000; }")
    assert "immutable" in sheet.headers["cache-control"]
    assert b"ours" in student.get("/static/icons/done.svg").body
    assert student.get("/static/../server.json").status == 404
    (own / "logo.svg").unlink()
    (own / "colours.css").unlink()
    # Links that lead out of the folder show nobody what lies there.
    (own / "logo.svg").symlink_to(house.data / "demo/project.json")
    (own / "leak.txt").symlink_to(house.config / "secret")
    (own / "inside.svg").symlink_to("icons/done.svg")
    (own / "out").symlink_to(house.data)
    assert student.get("/static/leak.txt").status == 404
    assert student.get("/static/out/demo/project.json").status == 404
    assert b"ours" in student.get("/static/inside.svg").body
    assert student.get("/p/demo/new").body.decode() == before


def test_a_template_of_ones_own_may_build_on_ours(house: House) -> None:
    student = house.browser("student")
    before = student.get("/p/demo/new").body.decode()
    own = house.config / "templates"
    own.mkdir()
    (own / "base.html").write_text(
        '{% extends "croft/base.html" %}{% block title %}{{ title }} at school{% endblock %}'
    )
    assert "<title>New file at school" in student.get("/p/demo/new").body.decode()
    (own / "base.html").unlink()
    assert student.get("/p/demo/new").body.decode() == before


def told(house: House) -> list[str]:
    """What admins hear of templates, at the next look."""
    problems = house.croft.services.problems
    problems.look_again()
    return [one.text for one in problems.all() if one.id.startswith("template:")]


def test_a_mistake_in_a_template_locks_nobody_out(house: House) -> None:
    """Given a template of one's own with a mistake, when a page is asked for, then it is shown by ours, and
    admins are told what is wrong; once it is corrected, it is used."""
    student = house.browser("student")
    before = student.get("/p/demo/new").body.decode()
    own = house.config / "templates"
    own.mkdir()
    for mistake in ("{% if %}", "{{ nothing.at.all }}", "{{ 1 / 0 }}", '{% include "none.html" %}'):
        (own / "new.html").write_text(mistake)
        assert student.get("/p/demo/new").body.decode() == before, mistake
        assert told(house), mistake
    (own / "new.html").write_bytes(b"\xff\xfe")
    assert student.get("/p/demo/new").body.decode() == before
    (own / "new.html").write_text("Ours: {{ project.title }}")
    assert student.get("/p/demo/new").body.decode() == "Ours: Demo"
    assert not told(house)
