"""What a test sees of the image viewer."""

import re

from playwright.sync_api import Page, expect

from tests.support import wait_for

VERDICT = re.compile(r"^(real|fake|indeterminate)$")
_IS_DRAWN = """canvas => {
  const data = canvas.width ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data : [];
  for (let at = 0; at < data.length; at += 4) if (data[at] > 20) return true;
  return false;
}"""


def expect_picture(page: Page) -> None:
    """Wait until the viewer has drawn something that isn't black."""
    picture = page.locator("canvas[data-canvas]").first
    expect(picture).to_be_visible()
    wait_for(lambda: picture.evaluate(_IS_DRAWN), 30, "the picture to be drawn")


def expect_heat_map(page: Page) -> None:
    """Wait until the viewer shows a heat map."""
    heat = page.locator("img[data-heat]").first
    expect(heat).to_be_visible()
    wait_for(lambda: heat.evaluate("image => image.complete && image.naturalWidth > 0"), 30, "the heat map")
