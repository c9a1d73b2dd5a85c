"""The pages of what is done: names, words, keyboard, light and dark, phone, and a server that is gone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from livework import COMMAND
from livework import page as live
from tiny import BENCH, EXPERIMENT

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUN = "/run/%3Cscript%3Ealert(1)%3Cscript%3E"
SCRIPT = "<script>alert(1)<script>"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def url(finished_run: Path) -> Iterator[str]:
    with live(finished_run) as server:
        yield f"http://127.0.0.1:{server.port}"


def shown(page: Page) -> None:
    """Waits until the story is told and the maps are drawn."""
    page.locator("#state[data-state='done']").wait_for()
    page.locator(".chart .summary", has_text="lowest").first.wait_for()
    page.locator(".map canvas").first.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.map canvas')].every(map => /lowest/.test(map.ariaLabel))"
    )


def test_a_name_that_is_a_script_is_text(url: str, open_page: Callable[..., Page]) -> None:
    for address, place in ((url, "#rows a"), (url + RUN, "h1")):
        page = open_page(address)
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        page.locator(place, has_text=SCRIPT).wait_for()
        assert page.locator("main script").count() == 0
    page.goto(url)
    page.get_by_role("link", name=SCRIPT).click()
    shown(page)


def test_all_that_is_drawn_is_said(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url + RUN)
    shown(page)
    for chart in page.locator(".chart:visible").all():
        assert chart.locator(".summary").inner_text()
        chart.get_by_text("As a table").click()
        chart.locator("tbody tr").first.wait_for()
    for drawing in page.locator("[role=img]:visible").all():
        assert drawing.get_attribute("aria-label") or drawing.get_attribute("aria-labelledby")
    for image in page.locator("img:visible").all():
        assert image.get_attribute("alt")


def test_the_stop_is_first_for_the_keyboard(url: str, open_page: Callable[..., Page]) -> None:
    for address in (url, url + RUN):
        page = open_page(address)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "emergency"
        page.keyboard.press("Enter")
        page.locator("#outcome", has_text="answered after").wait_for()
        assert page.locator(".emergency").is_enabled()


def test_cells_are_read_with_the_keyboard(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url + RUN)
    shown(page)
    page.locator("#maps-g canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.locator("#maps-g output", has_text="row 1, column 1: ").wait_for()


def test_maps_that_came_together_are_each_of_its_array(
    tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "bench": {**BENCH, "arrays": 2}}))
    command = [*COMMAND, "train", "tiny.yaml", "--out", "runs/two"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with live(tmp_path / "runs") as server:
        page = open_page(f"http://127.0.0.1:{server.port}/run/two")
        shown(page)
        said = []
        for number in (0, 1):
            page.locator("#maps-g canvas").nth(number).focus()
            said.append(page.locator("#maps-g output").nth(number).inner_text().split(": ")[1])
        asked = [server.ask("GET", f"/api/run/two/map/{arrays}/g").body for arrays in ("0", "1", "1,0")]
    assert asked[2] == asked[1] + asked[0]
    first_uS = [1e6 * float(np.frombuffer(body, "<f4")[0]) for body in asked[:2]]
    assert first_uS[0] != first_uS[1]
    for text, value_uS in zip(said, first_uS, strict=True):
        number, unit = text.split()
        assert unit == "\u00b5S"
        assert float(number) == pytest.approx(value_uS, rel=1e-2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(url: str, open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page(url + RUN, color_scheme=scheme)
    shown(page)
    for text, ground in (
        ("h1", "body"),
        ("dt", ".tiles > div"),
        (".summary", "section"),
        ("a", "body"),
        (".emergency",) * 2,
    ):
        assert page.evaluate(CONTRAST, [text, ground]) >= 4.5, (scheme, text)


@pytest.mark.parametrize("path", ["/", RUN])
def test_on_a_phone_nothing_is_cut_off(url: str, open_page: Callable[..., Page], path: str) -> None:
    page = open_page(url + path, **PHONE)
    page.locator("#state[data-state='done'], #rows a").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    box = page.locator(".emergency").bounding_box()
    assert box is not None
    assert box["width"] > 340
    assert 0 <= box["y"] <= 844 - box["height"]


def test_the_large_view_is_kept_in_the_address(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url + RUN, viewport={"width": 1920, "height": 1080})
    shown(page)
    page.get_by_role("button", name="Large view").click()
    assert page.url.endswith("#view=large")
    assert page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)") >= 20
    assert page.locator(".emergency").is_visible()


def test_the_list_is_sorted_and_filtered(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(url)
    page.locator("#rows tr").first.wait_for()
    page.get_by_role("button", name="Writes").click()
    assert page.locator("th[aria-sort='descending']").inner_text().startswith("Writes")
    page.get_by_label("Filter").fill("no such run")
    page.locator("#found", has_text="0 of 1 run").wait_for()
    assert page.locator("#rows tr").count() == 0


def test_a_server_that_is_gone_is_said(finished_run: Path, open_page: Callable[..., Page]) -> None:
    with live(finished_run) as server:
        page = open_page(f"http://127.0.0.1:{server.port}{RUN}")
        shown(page)
    page.locator("#lost", has_text="LINK LOST").wait_for()
    page.locator(".emergency").click()
    page.locator("#outcome", has_text="Stop it at the machine").wait_for()
    assert page.locator(".emergency").is_enabled()


# The contrast of an element's text with the ground of another, by WCAG 2.
CONTRAST = """([text, ground]) => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const [one, other] = [
    light(getComputedStyle(document.querySelector(text)).color),
    light(getComputedStyle(document.querySelector(ground)).backgroundColor),
  ].sort((a, b) => b - a);
  return (one + 0.05) / (other + 0.05);
}"""
