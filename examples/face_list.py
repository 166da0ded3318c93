"""List a folder of faces for an ImageData layer: one subfolder for each person, with images of that person in it.

usage: python face_list.py FOLDER [OUTPUT]

OUTPUT (default: FOLDER) gets faces_train.txt and faces_test.txt, a line `path number` for each image; a tenth of each
person's images, but at least one of two, is kept for the test.  people.txt has the name that belongs to each number.
"""

from __future__ import annotations

import sys
from pathlib import Path

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".gif", ".webp"}


def main(folder: Path, output: Path) -> None:
    people = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    train, test, names = [], [], []
    for person in people:
        images = sorted(p.resolve() for p in person.rglob("*") if p.suffix.lower() in ENDINGS)
        if not images:
            continue
        lines = [f"{path} {len(names)}" for path in images]
        held = max(len(images) // 10, 1) if len(images) > 1 else 0
        test += lines[:held]
        train += lines[held:]
        names.append(person.name)
    if not names:
        sys.exit(f"{folder} has no subfolders with images in them")
    output.mkdir(parents=True, exist_ok=True)
    for name, lines in (("faces_train", train), ("faces_test", test), ("people", names)):
        (output / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(names)} people, {len(train)} images to train on and {len(test)} to test, listed in {output}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit((__doc__ or "").split("\n\n")[1])
    main(Path(sys.argv[1]), Path(sys.argv[-1]))
