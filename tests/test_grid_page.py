import base64
import gzip
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.fitting.result import Curves
from mrs_necrosis.lesion import mask_weights, summarize_lesion
from mrs_necrosis.maps import Map, label_maps
from mrs_necrosis.maps.grid import Anatomy, Statement
from mrs_necrosis.maps.map import scalp_map, standard_maps
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.report.grid_page import _packed, _shortened, grid_page
from mrs_necrosis.report.screen import anatomy_slices, geometry

SHAPE = (6, 5, 2)
AFFINE = np.diag([-10.0, 10.0, 15.0, 1.0])
AFFINE[:3, 3] = (25.0, -20.0, 0.0)


def parts(hostile="", affine=AFFINE):
    """Six columns of labels, Cho/Cr rising with the first index."""
    rng = np.random.default_rng(0)
    i = np.indices(SHAPE)[0]
    values = np.stack([1.0 + 0.2 * i, np.ones(SHAPE), 2 - 0.2 * i], axis=-1)
    covariance = np.broadcast_to(np.eye(3) * 0.01, (*SHAPE, 3, 3)).copy()
    status = np.zeros(SHAPE, dtype=np.uint8)
    status[0, 0, 0] = FitStatus.NOT_FINITE
    values[0, 0, 0] = covariance[0, 0, 0] = np.nan
    number = np.where(status == 0, 10.0 + i, np.nan)
    quality = Quality(number, number, number / 123, number / 10, status, np.full(SHAPE, np.nan))
    labels = np.where(i < 2, "necrosis-favoring", "recurrence-favoring").astype("<U20")
    labels[0, 0, 0] = "not-evaluable"
    ppm = np.linspace(0.2, 4.2, 256)
    noise = rng.normal(0, 0.02, (*SHAPE, 256))

    def curves(voxel):
        fit = 0.3 + 0.02**2 * values[voxel][0] / ((ppm - 3.2) ** 2 + 0.02**2)
        data = fit + noise[voxel]
        base = np.full(256, 0.3)
        return Curves(ppm, data + 0j, fit + 0j, base + 0j, data - fit + 0j, {})

    maps = [
        *label_maps(labels, likelihood_ratio=np.where(i < 2, 0.1, 8.0)),
        *standard_maps(PeakAreas(("Cho", "Cr", "NAA"), values, covariance), quality),
    ]
    weights = np.where((i > 1) & (i < 5), 1.0, 0.0)
    anatomy = None
    if affine is not None:
        fine = np.diag([2.0, 2.0, 2.0, 1.0])
        fine[:3, 3] = (-50, -50, -20)
        anatomy = Anatomy(rng.uniform(0, 1, (50, 50, 30)), fine)
    return {
        "maps": maps,
        "quality": quality,
        "affine": affine,
        "curves": curves,
        "statements": [
            Statement("recurrence", f"Cho/Cr > 1.5 {hostile}", i > 2),
            Statement("gate", "SNR is below 5 (assumed)", status != 0),
        ],
        "anatomy": anatomy,
        "lesion": summarize_lesion(weights, labels, likelihood_ratio=np.where(i < 2, 0.1, 8.0)),
        "lesion_weights": weights,
        "notes": [f"a note {hostile}"],
        "provenance": {"version": "0", "text": hostile},
        "title": f"Grid {hostile}",
    }


def embedded(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


# ------------------------------------------------------------------ the file


def test_page_loads_nothing_and_allows_only_its_own_script():
    page = grid_page(**parts())

    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert not re.search(r"https?://|@import|\burl\(|fetch\(|XMLHttp|eval\(", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src 'none'" in policy
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(text) == 1
        digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "Research use only" in page
    assert "not a diagnosis" in page


def test_hostile_text_stays_text():
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\"'"

    page = grid_page(**parts(hostile=hostile))

    assert "<img" not in page
    assert page.count("<script") == 2
    assert embedded(page)["statements"][0]["text"].endswith(hostile)


def test_the_same_grid_gives_the_same_page():
    assert grid_page(**parts()) == grid_page(**parts())


def unpacked(text, dtype):
    raw = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    size = np.dtype(dtype).itemsize
    return raw.reshape(size, -1).T.copy().reshape(-1).view(dtype)


@given(arrays(np.float32, st.integers(1, 30), elements=st.floats(width=32)))
def test_packing_keeps_numbers_to_four_digits_and_what_is_none(values):
    back = unpacked(_packed(_shortened(values)), "<f4")

    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    with np.errstate(over="ignore"):
        biggest = np.abs(values) >= np.finfo(np.float32).max * (1 - 2**-12)
    plain = np.isfinite(values) & ~biggest & (np.abs(values) > 1e-30)
    np.testing.assert_allclose(back[plain], values[plain], rtol=2.0**-13)
    infinite = np.isinf(values)
    np.testing.assert_array_equal(back[infinite], values[infinite])


def test_spectra_survive_the_packing():
    given_parts = parts()
    packed = embedded(grid_page(**given_parts))["spectra"][1]
    rows = unpacked(packed["rows"], "<i4").reshape(SHAPE[:2])
    scale = unpacked(packed["scale"], "<f4").reshape(-1, 4)
    steps = unpacked(packed["traces"], "<i2").reshape(-1, 3, packed["points"])
    traces = np.cumsum(steps, axis=-1)

    voxel = (4, 3, 1)
    row = rows[4, 3]
    truth = given_parts["curves"](voxel)
    low, step, ppm0, ppm_step = scale[row]

    for trace, expected in zip(traces[row], (truth.data, truth.fit, truth.baseline), strict=True):
        np.testing.assert_allclose(low + step * trace, expected.real, atol=0.51 * step)
    np.testing.assert_allclose(ppm0 + ppm_step * np.arange(256), truth.ppm, atol=1e-4)
    assert step == pytest.approx(np.ptp([truth.data.real, truth.fit.real]) / 4000, rel=0.3)


def test_a_page_of_another_grid_or_of_nothing_is_refused():
    given_parts = parts()
    with pytest.raises(ValueError, match="at least one map"):
        grid_page(**{**given_parts, "maps": []})
    with pytest.raises(ValueError, match="must have the shape"):
        grid_page(**{**given_parts, "maps": [Map("snr", np.ones((1, 1, 1)), "", "")]})


# ------------------------------------------------------------------ geometry


@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    tilt=st.floats(-0.4, 0.4),
)
def test_letters_agree_with_nibabel(order, signs, tilt):
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ (np.diag(signs) @ np.eye(3))[:, order] @ np.diag([7.0, 8.0, 9.0])

    screen = geometry(affine)

    codes = nibabel.aff2axcodes(affine)
    assert screen.across_ends[1] == codes[screen.across]
    assert screen.down_ends[1] == codes[screen.down]
    view = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal"}
    assert screen.view == view.get(codes[2], "sagittal")
    assert {screen.across_ends[0], screen.across_ends[1]} in ({"L", "R"}, {"P", "A"})


def test_a_bright_spot_of_the_anatomy_lies_in_its_voxel():
    fine = np.diag([2.0, 2.0, 2.0, 1.0])
    fine[:3, 3] = (-50, -50, -20)
    image = np.zeros((50, 50, 30))
    world = AFFINE[:3, :3] @ [4, 1, 1] + AFFINE[:3, 3]
    centre = np.rint((world - fine[:3, 3]) / 2).astype(int)
    image[tuple(slice(c - 1, c + 2) for c in centre)] = 1

    slices = anatomy_slices(
        Anatomy(image, fine), shape=SHAPE, affine=AFFINE, margin=1, per_voxel=8
    )

    assert slices.shape == (2, 8 * 8, 7 * 8)
    k, i, j = np.unravel_index(slices.astype(int).argmax(), slices.shape)
    assert (i // 8 - 1, j // 8 - 1, k) == (4, 1, 1)


# ------------------------------------------------------------------ in a browser


class Browser:
    """Headless Chromium, driven through the pipe of its debugging protocol."""

    def __init__(self, binary, folder):
        to_read, self.out = os.pipe()
        self.back, to_write = os.pipe()

        def ends():  # the browser reads from 3 and writes to 4
            os.dup2(to_read, 13)
            os.dup2(to_write, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self.process = subprocess.Popen(
            [
                binary,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--force-device-scale-factor=1",
                "--window-size=1440,1300",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=ends,
            close_fds=False,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.events = 0, b"", []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.page(f"{domain}.enable")
        self.page("Network.emulateNetworkConditions", offline=True, latency=0,
                  downloadThroughput=0, uploadThroughput=0)  # fmt: skip

    def send(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            while b"\0" in self.rest:
                one, self.rest = self.rest.split(b"\0", 1)
                answer = json.loads(one)
                if answer.get("id") == self.number:
                    assert "error" not in answer, answer
                    return answer["result"]
                self.events.append(answer)
            if select.select([self.back], [], [], 1)[0]:
                self.rest += os.read(self.back, 1 << 20)
        raise TimeoutError(method)

    def page(self, method, **params):
        return self.send(method, session=self.session, **params)

    def run(self, expression):
        result = self.page(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path):
        self.page("Page.navigate", url=Path(path).as_uri())
        until = time.monotonic() + 60
        while self.run("document.body ? document.body.dataset.ready : ''") != "yes":
            assert time.monotonic() < until, "the page did not become ready"
            time.sleep(0.05)

    def text(self, selector):
        return self.run(f"document.querySelector({selector!r}).textContent")

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.page("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.page("Input.dispatchKeyEvent", type=kind, key=key)
        self.settle()

    def settle(self):
        self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 60)))")

    def choose(self, selector, value):
        self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
            "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })()"
        )
        self.settle()

    def screenshot(self):
        from matplotlib.image import imread

        shot = base64.b64decode(self.page("Page.captureScreenshot", format="png")["data"])
        return np.rint(imread(BytesIO(shot))[..., :3] * 255).astype(int)

    def close(self):
        try:
            self.send("Browser.close")
            self.process.wait(timeout=20)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            os.close(self.out)
            os.close(self.back)


@pytest.fixture(scope="module")
def browser():
    found = [shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome", "chrome")]
    binary = next((path for path in found if path), None)
    if binary is None or os.name != "posix":
        pytest.skip("needs Chromium (on Linux or macOS) to open the page in a browser")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        one = Browser(binary, folder)
        yield one
        one.close()


@pytest.fixture
def opened(browser, tmp_path):
    path = tmp_path / "grid.html"
    path.write_text(grid_page(**parts()), encoding="utf-8")
    browser.events.clear()
    browser.open(path)
    yield browser
    asked = [
        e["params"]["request"]["url"]
        for e in browser.events
        if e.get("method") == "Network.requestWillBeSent"
    ]
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked), asked
    wrong = [
        e
        for e in browser.events
        if e.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}
    ]
    assert not wrong, wrong


def voxel_centre(browser, i, j):
    """Screen position of a voxel of 6 x 5 with a margin of one, in the radiological view."""
    box = browser.run(
        "(() => { const b = document.getElementById('grid').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    left, top, width, height = box
    cell = min((width - 44) / 8, (640 - 44) / 7)
    # the affine's x falls with i: the low index is the subject's left, drawn on the right ...
    column = 5 - i if AFFINE[0, 0] > 0 else i
    row = 4 - j  # ... and y rises with j: anterior is drawn on top
    # all lengths below are those of grid.js: an edge of 22, at most 640 high
    x0 = left + (width - 8 * cell) / 2
    assert height == pytest.approx(7 * cell + 44, abs=1)
    return x0 + (column + 1.5) * cell, top + 22 + (row + 1.5) * cell


def test_a_click_shows_the_voxel_its_ratios_and_its_reasons(opened):
    opened.run("location.hash = '#voxel=0,0,1'")
    opened.settle()
    opened.run("document.getElementById('grid').scrollIntoView({block: 'center'})")
    opened.click(*voxel_centre(opened, 4, 3))

    assert opened.text("#voxel-title") == "Voxel 4, 3, 1"
    assert opened.text("#voxel-label") == "recurrence-favoring"
    # centre at (25 - 40, -20 + 30, 15) mm
    assert opened.text("#voxel-where") == "centre at L 15.0, A 10.0, S 15.0 mm"
    assert "Cho/Cr1.80 ± 0.21" in opened.text("#ratios tbody")
    assert "For recurrence: Cho/Cr > 1.5" in opened.text("#reasons")
    assert "voxel=4,3,1" in opened.run("location.hash")


def test_keys_move_the_voxel_and_the_slice(opened):
    opened.run("location.hash = '#voxel=2,2,1'")
    opened.settle()
    opened.run("document.getElementById('grid').focus()")

    for key in ("ArrowRight", "ArrowUp", "PageDown"):
        opened.press(key)

    # the subject's left is on the right of the screen: x falls, so i rises; up is anterior
    assert opened.text("#voxel-title") == "Voxel 3, 3, 0"
    assert opened.text("#slice-text") == "1 of 2 (index 0)"
    assert "Voxel 3, 3, 0" in opened.text("#status")


def test_a_voxel_without_a_fit_says_why(opened):
    opened.run("location.hash = '#voxel=0,0,0'")
    opened.settle()

    assert FitStatus.NOT_FINITE.sentence in opened.text("#no-spectrum")
    assert opened.run("document.getElementById('no-spectrum').hidden") is False
    assert "no answer" in opened.text("#ratios tbody")
    assert "No label: SNR is below 5" in opened.text("#reasons")


def test_the_screenshot_shows_each_voxel_in_the_colour_of_its_label(opened):
    opened.run("document.getElementById('grid').scrollIntoView({block: 'center'})")
    opened.choose("#opacity", "100")
    opened.run("document.getElementById('lines').click()")
    opened.run("location.hash = '#voxel=5,4,1&map=desc-label'")
    opened.settle()
    colours = {0: (0x00, 0x72, 0xB2), 1: (0x00, 0x72, 0xB2), 3: (0xD5, 0x5E, 0x00)}
    for view in ("radiological", "neurological"):
        opened.choose("#convention", view)
        shot = opened.screenshot()
        for i, colour in colours.items():
            for j in range(4):
                x, y = voxel_centre(opened, i if view == "radiological" else 5 - i, j)
                assert tuple(shot[int(y), int(x)]) == colour, (view, i, j)


def test_the_legend_says_what_is_not_drawn_over_an_anatomy(opened):
    assert "not-evaluable (not drawn)" in opened.text("#legend")


def test_low_quality_voxels_can_be_hidden(opened):
    assert opened.text("#count").startswith("30 of 30 voxels of this slice pass")

    opened.choose("#snr", "13")

    # SNR is 10 + i: of six columns of five voxels three are left
    assert opened.text("#count").startswith("15 of 30 voxels of this slice pass")


def test_the_spectrum_is_drawn_with_ppm_falling_to_the_right(opened):
    opened.run("location.hash = '#voxel=5,2,1'")
    opened.settle()
    # the only peak lies at 3.2 of 4.2 to 0.2 ppm: a quarter of the way from the left
    where = opened.run(
        """(() => { const c = document.getElementById('spectrum');
        const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let top = 1e9, at = 0;
        for (let y = 0; y < c.height; y++) for (let x = 0; x < c.width; x++) {
          const o = 4 * (y * c.width + x);
          if (p[o] === 0xd5 && p[o+1] === 0x5e && p[o+2] === 0 && p[o+3] > 200 && y < top) {
            top = y; at = x; } }
        return at / c.width; })()"""
    )

    assert where == pytest.approx(0.25, abs=0.02)


def test_maps_can_be_switched_and_have_a_colour_bar(opened):
    opened.choose("#map", "met-ChoCr_desc-ratio")

    assert "Cho/Cr" in opened.text("#scale-title")
    assert float(opened.run("document.getElementById('low').value")) < 1.3
    assert float(opened.run("document.getElementById('high').value")) > 1.7
    assert opened.run("document.getElementById('legend').children.length") == 0

    opened.choose("#map", "desc-label")

    assert "recurrence-favoring" in opened.text("#legend")


def test_without_anatomy_and_affine_the_orientation_is_unknown(browser, tmp_path):
    path = tmp_path / "bare.html"
    path.write_text(grid_page(**parts(affine=None)), encoding="utf-8")

    browser.open(path)

    assert "the source gives no position" in browser.text("#voxel-where")
    assert browser.run("document.getElementById('opacity-box').hidden") is True


def test_lesion_weights_of_a_mask_are_what_the_page_outlines():
    mask = np.ones((4, 4, 4))
    weights = mask_weights(mask, AFFINE, shape=SHAPE, affine=AFFINE, point_spread="box")
    page = grid_page(**{**parts(), "lesion_weights": weights})

    outlined = unpacked(embedded(page)["lesion"], "<f4").reshape(SHAPE)

    np.testing.assert_allclose(outlined, weights, rtol=2.0**-13, atol=1e-6)


def test_a_voxel_whose_denominator_is_absent_is_marked_as_above_its_bound(browser, tmp_path):
    # NAA is absent in the middle column, Cho is not: the voxels that matter most
    made = parts()
    i = np.indices(SHAPE)[0]
    values = np.stack([np.ones(SHAPE), np.ones(SHAPE), np.where(i == 3, 0.01, 1.0)], axis=-1)
    covariance = np.broadcast_to(np.eye(3) * 0.0025, (*SHAPE, 3, 3))
    areas = PeakAreas(("Cho", "Cr", "NAA"), values, covariance)
    maps = [*made["maps"][:2], *standard_maps(areas, made["quality"])]
    path = tmp_path / "absent.html"
    path.write_text(grid_page(**{**made, "maps": maps}), encoding="utf-8")

    browser.open(path)
    browser.choose("#map", "met-ChoNAA_desc-ratio")
    browser.run("document.getElementById('grid').scrollIntoView({block: 'center'})")
    browser.settle()

    assert "NAA is not detected: the ratio is above" in browser.text("#legend")
    assert browser.text("#count").endswith("30 have an answer")
    shot = browser.screenshot()
    x, y = voxel_centre(browser, 3, 2)
    assert tuple(shot[int(y) + 2, int(x)]) == (255, 255, 255)

    browser.choose("#map", "met-ChoCr_desc-ratio")

    assert browser.text("#legend") == ""


def test_scalp_lipid_does_not_set_the_scale_of_a_map_of_lipid(browser, tmp_path):
    made = parts()
    i = np.indices(SHAPE)[0]
    values = np.stack([np.where(i == 0, 200.0, 1.0 + i), np.ones(SHAPE)], axis=-1)
    covariance = np.broadcast_to(np.eye(2) * 0.0025, (*SHAPE, 2, 2))
    areas = PeakAreas(("LL", "Cr"), values, covariance)
    maps = [*made["maps"][:2], *standard_maps(areas, made["quality"]), scalp_map(i == 0)]
    path = tmp_path / "scalp.html"
    path.write_text(grid_page(**{**made, "maps": maps}), encoding="utf-8")

    browser.open(path)
    browser.choose("#map", "met-LLCr_desc-ratio")

    assert float(browser.run("document.getElementById('high').value")) < 10


def test_the_interval_says_its_level_and_the_map_its_scale(opened):
    assert opened.text("#ratios thead") == "RatioValue95 % interval"


def test_the_lesions_worst_voxel_is_a_click_away(opened):
    opened.choose("#convention", "neurological")
    opened.run("location.hash = '#voxel=5,2,1'")
    opened.settle()
    before = opened.text("#voxel-title")
    opened.run("document.querySelector('.lesion a').click()")
    opened.settle()

    worst = parts()["lesion"].worst_voxel
    assert opened.text("#voxel-title") == f"Voxel {', '.join(map(str, worst))}" != before
    # and the view stays what it was
    assert opened.run("document.getElementById('convention').value") == "neurological"
