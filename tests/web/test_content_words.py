"""What was read from a file's content, as its page says it and as the API gives it."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from house import Browser, House
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from server.web.pages import content


@pytest.fixture
def ana(house: House) -> Browser:
    house.make("demo/project.json", b"{}")
    return house.browser("student")


def photo() -> bytes:
    image = Image.new("RGB", (60, 40))
    tags = image.getexif()
    tags[0x0110] = "EOS <R6>"
    part = tags.get_ifd(0x8769)
    part[0x9003], part[0x829A], part[0x829D] = "2024:02:29 13:05:09", IFDRational(1, 250), IFDRational(28, 10)
    out = io.BytesIO()
    image.save(out, "JPEG", exif=tags)
    return out.getvalue()


def facts_on(ana: Browser, url: str) -> str:
    html = ana.get(url).body.decode()
    return html[html.index('<dl class="facts">') : html.index("</dl>", html.index('<dl class="facts">'))]


def until(found: Any) -> Any:
    deadline = time.monotonic() + 30
    while not (said := found()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return said


def test_a_texture_that_is_no_asset_tells_its_facts_all_the_same(house: House, ana: Browser) -> None:
    house.make("demo/tex/wood <1>.jpg", photo())
    address = "data::demo/tex/wood <1>.jpg"
    view = until(lambda: (v := ana.get("/api/assets/" + address).data)["facts"] and v)
    assert view["facts"]["size"] == [60, 40]
    assert view["facts"]["exif"]["exposure"] == 0.004
    said = facts_on(ana, "/p/demo/asset/tex/wood <1>.jpg")
    for words in ("60 × 40", "EOS &lt;R6&gt;", "1/250 s", "f/2.8", "2024-02-29 13:05", "RGB"):
        assert f"<dd>{words}</dd>" in said, said
    assert not (house.data / "demo/tex/.croft/wood <1>.jpg/file.json").exists()


def test_an_image_sequence_tells_what_is_missing(house: House, ana: Browser, tmp_path: Path) -> None:
    Image.new("RGBA", (32, 16), (9, 9, 9, 90)).save(tmp_path / "frame.png")
    for number in (1, 2, 3, 7, 9, 10):
        house.make(f"demo/shots/walk.{number:04d}.png", (tmp_path / "frame.png").read_bytes())
    found = until(lambda: (f := facts_on(ana, "/p/demo/asset/shots/walk.@.png")).count("32 ×") and f)
    assert "<dd>1 to 10</dd>" in found
    assert "<dd>4 to 6, 8</dd>" in found
    assert "<dd>RGB, with transparency</dd>" in found


def test_facts_become_words() -> None:
    film = {"duration_s": 100.4, "rate": 29.97, "size": [1920, 1080], "codec": "h264", "audio": ""}
    assert dict(content.in_words("film", film)) == {
        "Length": "1 min 40 s", "Frames a second": "29.97", "Picture": "1920 × 1080", "Film": "H.264",
        "Sound": "none",
    }  # fmt: skip
    assert dict(content.in_words("film", {})) == dict.fromkeys(
        ("Length", "Frames a second", "Picture", "Film", "Sound"), ""
    )
    assert content.missing("1-99x2,120,130-140") == "1 to 99 in steps of 2, 120, 130 to 140"
    assert content.missing("2,4x13,…") == "2, 4 in steps of 13, …"
    many = content.missing(",".join(str(2 * n) for n in range(90)))
    assert many.endswith("20, 22, and more")
    assert content.in_words("scene", {"size": "nonsense", "exif": []}) == []
    assert ("Exposure", "2.5 s") in content.in_words("image", {"exif": {"exposure": 2.5}})
