"""The pictures of the README and the site, from shipped samples: ``python docs/figures.py``.

``report.png`` is what a report shows of the simulated reference case at 144 ms; ``grid.png`` is
the page of the shipped grid as Chromium draws it, and is left alone where there is none.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from mrs_necrosis import analyze
from mrs_necrosis.simulation import sample_path

IMAGES = Path(__file__).parent / "images"
COLOURS = 200


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two pictures side by side, the lower one in the middle of the height."""
    height = max(left.height, right.height)
    both = Image.new("RGB", (left.width + right.width, height), "white")
    both.paste(left, (0, (height - left.height) // 2))
    both.paste(right, (left.width, (height - right.height) // 2))
    return both


def keep(image: Image.Image, name: str, width: int) -> None:
    IMAGES.mkdir(exist_ok=True)
    size = (width, round(width * image.height / image.width))
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(COLOURS)
    small.save(IMAGES / name, optimize=True)


def main() -> None:
    with TemporaryDirectory() as folder:
        voxel, grid = Path(folder) / "voxel", Path(folder) / "grid"
        analyze(sample_path("reference_case_te144.nii.gz"), out=voxel)
        keep(
            beside(Image.open(voxel / "spectrum.png"), Image.open(voxel / "evidence.png")),
            "report.png", 1600,
        )  # fmt: skip
        browser = shutil.which("chromium")
        if browser is None:
            return
        analyze(sample_path("grid_te144.nii.gz"), out=grid)
        picture = Path(folder) / "page.png"
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
             f"--screenshot={picture}", "--window-size=1200,980", (grid / "grid.html").as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
        keep(Image.open(picture), "grid.png", 1000)


if __name__ == "__main__":
    main()
