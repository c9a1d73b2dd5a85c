"""Writes the data of the examples: `python make_data.py [DIRECTORY]`, beside this file without one.

iris.csv: the 150 flowers of Fisher (1936, doi 10.1111/j.1469-1809.1936.tb02137.x), from scikit-learn.
spectra_train.npz, spectra_test.npz: computed absorption spectra of mixtures of two substances.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WAVELENGTHS_NM = np.linspace(1100, 1700, 96)
# centre and width of the bands of each substance in nm, and how strongly they absorb
BANDS = {
    "water": [(1450, 45, 1.0), (1190, 30, 0.3)],
    "ethanol": [(1580, 60, 0.6), (1410, 20, 0.4), (1190, 25, 0.35)],
}


def write_iris(path: Path) -> None:
    """The flowers as a table, the species as text."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*iris.feature_names, "species"])
        for row, species in zip(iris.data, iris.target, strict=True):
            writer.writerow([*row, iris.target_names[species]])


def write_spectra(path: Path, samples: int, rng: np.random.Generator) -> None:
    """`x`: spectra (samples, 96) over a baseline, with noise. `y`: shares of water and of ethanol (samples, 2)."""
    shares = rng.uniform(0, 1, size=(samples, len(BANDS)))
    pure = np.array([_spectrum(bands) for bands in BANDS.values()])
    slope = np.linspace(-1, 1, WAVELENGTHS_NM.size)
    baseline = rng.normal(0, 0.05, size=(samples, 1)) + rng.normal(0, 0.1, size=(samples, 1)) * slope
    # a detector that saturates bends the law of Beer and Lambert
    absorbance = 1.2 * np.tanh((shares @ pure + baseline) / 1.2) + rng.normal(0, 0.005, size=baseline.shape)
    np.savez(path, x=absorbance.astype(np.float32), y=shares.astype(np.float32))


def _spectrum(bands: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    terms = [height * np.exp(-(((WAVELENGTHS_NM - centre) / width) ** 2)) for centre, width, height in bands]
    return np.sum(terms, axis=0)


def main() -> None:
    """Writes all files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    rng = np.random.default_rng(0)
    write_iris(folder / "iris.csv")
    write_spectra(folder / "spectra_train.npz", 400, rng)
    write_spectra(folder / "spectra_test.npz", 100, rng)


if __name__ == "__main__":
    main()
