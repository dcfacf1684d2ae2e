"""The pictures of stored images: frames through windows, raw values, thumbnails, heat maps; who may see them."""

import copy
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medfake_pacs.console.rendering import heatmap
from medfake_pacs.console.rendering.frames import FrameReader, FrameSource
from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.console_studies import Studies, fake_from
from tests.console_support import ConsoleServer, console_settings, running_console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path)) as running:
        yield running


def test_a_frame_is_shown_through_the_window_that_was_asked_for(console: ConsoleServer, studies: Studies) -> None:
    [dataset] = material.ct_series(1)
    [number] = studies.receive([dataset])
    client = console.signed_in(Role.VIEWER)
    answer = client.get(f"/images/{number}/frames/1.png?low=-200&high=200")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"].startswith("private")
    shown = np.asarray(Image.open(BytesIO(answer.content)))
    units = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    expected = np.clip(np.rint((units + 200) * 255 / 400), 0, 255)
    assert np.abs(shown - expected).max() <= 1
    # Without a window: the header's, or percentiles; in either case something can be seen.
    shown = np.asarray(Image.open(BytesIO(client.get(f"/images/{number}/frames/1.png").content)))
    assert shown.std() > 20


def test_the_raw_values_are_the_modality_units(console: ConsoleServer, studies: Studies) -> None:
    [dataset] = material.ct_series(1)
    [number] = studies.receive([dataset])
    answer = console.signed_in(Role.VIEWER).get(f"/images/{number}/frames/1.raw")
    assert answer.headers["x-frame-format"] == "int16"
    assert answer.headers["x-frame-units"] == "HU"
    shape = int(answer.headers["x-frame-rows"]), int(answer.headers["x-frame-columns"])
    values = np.frombuffer(answer.content, "<i2").reshape(shape)
    assert np.array_equal(values, dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept)


def test_the_headers_window_is_the_first(console: ConsoleServer, studies: Studies) -> None:
    [dataset] = material.ct_series(1)
    dataset.WindowCenter, dataset.WindowWidth = ["40", "0"], ["400", "10"]
    [number] = studies.receive([dataset])
    answer = console.signed_in(Role.VIEWER).get(f"/images/{number}/frames/1.raw")
    assert float(answer.headers["x-frame-low"]) == pytest.approx(-160, abs=1)
    assert float(answer.headers["x-frame-high"]) == pytest.approx(239, abs=1)


def test_what_does_not_change_is_not_sent_again(console: ConsoleServer, studies: Studies) -> None:
    [number] = studies.receive(material.ct_series(1))
    client = console.signed_in(Role.VIEWER)
    first = client.get(f"/images/{number}/thumbnail.png")
    assert max(Image.open(BytesIO(first.content)).size) <= 160
    again = client.get(f"/images/{number}/thumbnail.png", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


def test_a_heat_map_is_bright_where_the_model_saw_something_and_clear_elsewhere(
    console: ConsoleServer, studies: Studies
) -> None:
    datasets = material.ct_series(5)
    studies.make(datasets, fake_from(1, 5))
    answer = console.signed_in(Role.VIEWER).get("/images/1/heatmap.png")
    picture = np.asarray(Image.open(BytesIO(answer.content)))
    assert picture.shape[2] == 4
    height, width = picture.shape[:2]
    alpha = picture[..., 3]
    assert alpha[int(height * 3 / 8), width // 2] > 200
    assert alpha[-1].max() == 0


def test_each_frame_of_an_image_can_be_had(console: ConsoleServer, studies: Studies) -> None:
    dataset = material.shipped("examples_overlay.dcm")
    single = dataset.pixel_array
    dataset.NumberOfFrames = 3
    dataset.PixelData = b"".join((single + step).astype(single.dtype).tobytes() for step in (0, 10, 20))
    [number] = studies.receive([dataset])
    client = console.signed_in(Role.VIEWER)
    frames = [client.get(f"/images/{number}/frames/{each}.raw").content for each in (3, 1, 2)]
    assert len(set(frames)) == 3
    answer = client.get(f"/images/{number}/frames/4.raw")
    assert answer.status_code == 404
    assert "3 frames" in answer.text


def test_what_can_not_be_shown_says_why(console: ConsoleServer, studies: Studies) -> None:
    sound, damaged = material.ct_series(2)
    damaged = copy.deepcopy(damaged)
    damaged.PixelData = damaged.PixelData[:100]
    kept, broken = studies.receive([sound, damaged])
    client = console.signed_in(Role.VIEWER)
    answer = client.get(f"/images/{broken}/frames/1.png")
    assert answer.status_code == 422
    assert "truncated pixel data" in answer.text
    studies.path_of(kept).unlink()
    answer = client.get(f"/images/{kept}/frames/1.png")
    assert answer.status_code == 410
    assert "retention" in answer.text
    for address in ("/images/99999/frames/1.png", "/images/-1/thumbnail.png", f"/images/{2**70}/frames/1.raw"):
        assert client.get(address).status_code == 404
    assert client.get(f"/images/{broken}/frames/1.png?low=5&high=1").status_code == 422


@pytest.mark.parametrize("path", ["frames/1.png", "frames/1.raw", "thumbnail.png", "heatmap.png"])
def test_images_are_for_those_who_may_see_studies(console: ConsoleServer, studies: Studies, path: str) -> None:
    [number] = studies.receive(material.ct_series(1))
    assert console.anonymous().get(f"/images/{number}/{path}").status_code == 303
    assert console.signed_in().get(f"/images/{number}/{path}").status_code == 403


def test_a_heat_map_lies_where_its_cells_are() -> None:
    # Four by four cells of 32 pixels on a frame of 256 x 128: the right half was not covered.
    cells = [[-20.0] * 4 for _ in range(4)]
    cells[0][3] = 20.0
    picture = heatmap.picture(cells, 1.0, 0.0, 256, 128)
    alpha = np.asarray(picture)[..., 3]
    assert picture.width == 2 * picture.height
    row, column = np.unravel_index(int(alpha.argmax()), alpha.shape)
    assert (row / picture.height, column / picture.width) == (
        pytest.approx(1 / 8, abs=1 / 8),
        pytest.approx(7 / 16, abs=1 / 16),
    )
    assert alpha[:, picture.width // 2 + 8 :].max() == 0
    # A frame that is smaller than its last cells cuts them.
    assert heatmap.picture(cells, 1.0, 0.0, 100, 70).size == (25, 18)
    # Lightness rises with what the cells say, so that colours alone don't tell.
    steps = np.asarray(heatmap.picture([[logit] for logit in range(-6, 7)], 1.0, 0.0, 32, 32 * 13))[..., :3]
    lightness = steps.astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[:, 0]) >= -1).all()


def test_frames_that_were_looked_at_are_remembered_up_to_a_bound(studies: Studies) -> None:
    numbers = studies.receive(material.ct_series(3))
    sources = [FrameSource(path=studies.path_of(number), digest=str(number)) for number in numbers]
    frame_bytes = 128 * 128 * 2
    reader = FrameReader(studies.context.decoders, kept_bytes=2 * frame_bytes)
    first = reader.read(sources[0], 1)
    assert reader.read(sources[0], 1) is first
    reader.read(sources[1], 1)
    reader.read(sources[2], 1)
    assert reader.read(sources[0], 1) is not first
    # What is larger than the bound is shown all the same.
    assert FrameReader(studies.context.decoders, kept_bytes=10).read(sources[0], 1).values.shape == (128, 128)
