"""Pictures of people and teams: made anew from what is sent, shown to those who are in, gone when removed."""

from __future__ import annotations

import io
import json

import pytest
from house import House, Reply
from PIL import Image
from PIL.TiffImagePlugin import IFDRational


def picture(size: tuple[int, int] = (400, 300), form: str = "PNG", **more: object) -> bytes:
    out = io.BytesIO()
    mode = "RGBA" if form == "PNG" else "RGB"
    Image.new(mode, size, "#8a5300").save(out, form, **more)
    return out.getvalue()


def send(house: House, who: str, target: str, raw: bytes) -> int:
    return house.browser(who).ask("PUT", target, raw=raw, kind="image/jpeg").status


def test_a_picture_is_kept_as_a_square_of_its_pixels_alone(house: House) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (IFDRational(48), IFDRational(8), IFDRational(0))  # where it was taken
    exif[0x0112] = 6  # held upright
    held = Image.new("RGB", (2400, 1800), "#1e6b52")
    held.paste("#b3261e", (0, 0, 2400, 900))  # as it is held, the right half
    out = io.BytesIO()
    held.save(out, "JPEG", exif=exif)
    sent = out.getvalue()
    reply = house.browser("student").ask("PUT", "/api/users/student/photo", raw=sent, kind="image/jpeg")
    assert reply.status == 200, reply.body
    shown = house.browser("admin").get(reply.data["photo"])
    assert (shown.status, shown.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(shown.body)) as found:
        assert (found.size, found.format) == ((512, 512), "JPEG")
        assert not found.getexif()
        (red, *_), (green, *_) = found.getpixel((500, 250)), found.getpixel((12, 250))  # type: ignore[misc]
        assert red > 150 > green, "it stands as it was held"
    assert shown.body == (house.config / "photos/users/student.jpg").read_bytes()
    assert list((house.config / "cache").glob(".photo*")) == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"<svg onload=alert(1)>", b"\xff\xd8\xff" + b"x" * 500, picture()[:80], b"GIF89a" + b"\0" * 50],
)
def test_what_is_no_picture_changes_nothing(house: House, raw: bytes) -> None:
    assert send(house, "student", "/api/users/student/photo", picture()) == 200
    before = (house.config / "photos/users/student.jpg").read_bytes()
    assert send(house, "student", "/api/users/student/photo", raw) in (400, 415)
    assert (house.config / "photos/users/student.jpg").read_bytes() == before


def test_who_may_change_whose_picture(house: House) -> None:
    house.croft.services.people.add("ben", "student")
    house.croft.services.people.add("gil", "guest")
    may = {("student", "student"), ("supervisor", "student"), ("supervisor", "ben"), ("supervisor", "gil")}
    may |= {("supervisor", "supervisor")} | {
        ("admin", who) for who in ("admin", "supervisor", "student", "ben")
    }
    for who in ("gil", "student", "supervisor", "admin"):
        for whose in ("ben", "student", "supervisor", "admin", "gil"):
            status = send(house, who, f"/api/users/{whose}/photo", picture((64, 64)))
            assert (status == 200) == ((who, whose) in may or who == "admin"), (who, whose, status)
    assert send(house, "student", "/api/projects/demo/photo", picture()) == 403
    assert send(house, "supervisor", "/api/projects/demo/photo", picture()) == 200


def test_a_form_without_scripts_sends_a_picture(house: House) -> None:
    browser = house.browser()
    browser.sign_in("student")

    def send_form(csrf: str, file: bytes) -> Reply:
        fields = {"csrf": csrf, "do": "PUT /api/users/student/photo"}
        parts = [f'--b0\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}' for k, v in fields.items()]
        head = '--b0\r\nContent-Disposition: form-data; name="photo"; filename="a.png"'
        text = "\r\n".join([*parts, head, "Content-Type: image/png", "", ""])
        raw = text.encode() + file + b"\r\n--b0--\r\n"
        return browser.ask("POST", "/do", raw=raw, kind='multipart/form-data; boundary="b0"')

    token, browser.csrf = browser.csrf, ""
    assert send_form("guessed", picture()).status == 403
    assert not (house.config / "photos/users/student.jpg").exists()
    assert send_form(token, picture()).status == 303
    with Image.open(house.config / "photos/users/student.jpg") as kept:
        assert kept.size == (300, 300), "its middle, not made larger"
    assert send_form(token, b"no picture\r\n--b1").status == 303
    assert browser.ask("POST", "/do", raw=b"x", kind="multipart/form-data").status in (400, 403)


def test_a_removed_picture_is_gone(house: House) -> None:
    browser = house.browser("student")
    url = browser.ask("PUT", "/api/users/student/photo", raw=picture(), kind="image/png").data["photo"]
    assert browser.ask("DELETE", "/api/users/student/photo").data["photo"] == ""
    assert browser.get(url).status == 404
    assert browser.ask("DELETE", "/api/users/student/photo").status == 404


def test_a_picture_put_there_by_hand_is_shown_and_a_huge_one_isnt(house: House) -> None:
    folder = house.config / "photos/users"
    folder.mkdir(parents=True)
    (folder / "student.jpg").write_bytes(picture((64, 64), "JPEG"))
    (folder / "admin.jpg").write_bytes(b"\xff\xd8\xff" + b"x" * (2 << 20))
    (folder / "supervisor.jpg").write_bytes(b"not a picture")
    photos = house.croft.services.people.photos
    house.until(lambda: photos.url("users", "student"))
    assert set(photos.urls("users")) == {"student"}


def test_rfams_own_pictures_are_shown_where_there_is_none(house: House) -> None:
    """Its users and projects name a picture by a named path; one colon or two."""
    config = house.config
    for folder in ("images", "paths"):
        (config / folder).mkdir(exist_ok=True)
    (config / "paths/images.json").write_text('{"ident": "images", "path": "images"}')
    (config / "images/tom.jpg").write_bytes(picture((64, 64), "JPEG"))
    user = {"ident": "tom", "name": "Tom", "image": "images:tom.jpg", "projects": ["demo"]}
    (config / "users/tom.json").write_text(json.dumps({**user, "language": "english"}))
    (config / "users/eve.json").write_text('{"name": "Eve", "image": "images::../secret"}')
    project = json.loads((config / "projects/demo.json").read_text())
    (config / "projects/demo.json").write_text(json.dumps({**project, "image": "images::tom.jpg"}))
    people = house.croft.services.people
    house.until(lambda: people.photos.url("users", "tom") and people.photos.url("projects", "demo"))
    assert people.photos.url("users", "eve") == ""
    assert house.browser("admin").get(people.photos.url("users", "tom")).status == 200
    user_seen = people.user("tom")
    assert (user_seen.title, user_seen.language, user_seen.projects) == ("Tom", "en", ("demo",))
    assert (
        house.browser("admin").ask("PUT", "/api/users/tom/photo", raw=picture(), kind="image/png").status
        == 200
    )
    assert people.photos.read("users", "tom") != (config / "images/tom.jpg").read_bytes()


@pytest.mark.parametrize(
    "target",
    [
        *("/photo/tokens/x.1.jpg", "/photo/users/..%2F..%2Fsecret.1.jpg"),
        *("/photo/users/.jpg", "/photo/users/x", "/photo/users/\0.1.jpg"),
    ],
)
def test_nothing_else_is_read(house: House, target: str) -> None:
    assert house.browser("admin").get(target).status in (400, 404)


def test_strangers_see_pictures_only_past_the_events_code(house: House) -> None:
    reply = house.browser("student").ask("PUT", "/api/users/student/photo", raw=picture(), kind="image/png")
    url = reply.data["photo"]
    assert house.browser().get(url).status == 200, "the sign-in page shows faces"
    house.croft.services.settings.change(event_code="Red Fox 7")
    browser = house.browser()
    assert browser.get(url).status == 404
    assert house.browser("student").get(url).status == 200
