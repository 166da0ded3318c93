"""Generates a small table: houses and their prices.

    python examples/make_houses.py [FOLDER]        (default: examples/data)

Writes houses.csv, 800 rows with the columns
    area      square meters
    rooms     number of rooms
    built     year; about one in 20 cells is empty
    district  one of five names
    garden    yes or no
    price     in 1,000, which depends on all of these, and on chance
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

DISTRICTS = {"Harbor": 1.35, "Hill": 1.5, "Market": 1.1, "Mill": 0.8, "Old Town": 1.25}  # name: factor of the price


def house(random: np.random.Generator) -> list[object]:
    """One row of the table."""
    area = float(np.clip(random.normal(95, 30), 28, 240))
    rooms = max(1, round(area / 26 + random.normal(0, 0.7)))
    built = int(random.integers(1890, 2024))
    district = str(random.choice(list(DISTRICTS)))
    garden = bool(random.random() < 0.4)
    usual = DISTRICTS[district] * (2.1 * area + 8 * rooms + 0.4 * (built - 1890)) + 45 * garden
    price = usual * random.normal(1, 0.05)
    shown = "" if random.random() < 0.05 else built
    return [f"{area:.1f}", rooms, shown, district, "yes" if garden else "no", f"{price:.1f}"]


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "houses.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["area", "rooms", "built", "district", "garden", "price"])
        table.writerows(house(random) for _ in range(800))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
