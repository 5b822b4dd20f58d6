r"""No name of a file ends a command: bytes that are no text, control characters, any terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from colorgan.commands.text import print_table, printable
from colorgan.data.dataset import Dataset
from tests.conftest import CHECKOUT
from tests.packages.test_packages import publish_animals
from tests.test_cli import photograph

NAMES = [
    *("Größe.png", "café.jpg", "naïve façade.PNG", "夏の写真.png", "фото.jpeg", "صورة.png"),
    *("👨‍👩‍👧.png", "🦊.webp", "e\u0301.png", "\u202egnp.exe.png", "zero\u200bwidth.png"),
    *("two\nlines.png", "tab\there.png", "\x1b[2J\x1b[31mred.png", "bell\a.png", "cr\rback.png"),
    *("-o.png", "--model.png", " leading.png", "trailing .png", "a b  c.png", "'quoted\".png"),
    *("$(touch x).png", "back\\slash.png", "%s%d{}.png", ".hidden.png", "many.dots.in.it.png"),
    *("no suffix", b"2 Stra\xdfe.png", b"\xff\xfe.png", b"\xe6\x97.png"),
]

# As users have them: a bare machine, one without even Python's own way out, an old terminal, and
# one whose Python checks.
LOCALES = {
    "C": {"LC_ALL": "C"},
    "C and nothing else": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    "UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
}

COMMANDS = """
import sys
from colorgan.cli import main
storage, out, *photos = sys.argv[1:]
where = ("--storage", storage)
status = main(["colorize", *where, "--model", "animals", "-o", out, *photos])
few = photos[:1] + photos[-6:]
status |= main(["classify", *where, *few])
print("== json", flush=True)
status |= main(["classify", *where, "--json", *few])
sys.exit(status)
"""


@pytest.mark.parametrize("locale", LOCALES)
def test_thirty_odd_names_give_thirty_pictures_in_any_locale(
    scenes: Dataset, tmp_path: Path, locale: str
) -> None:
    assert len(NAMES) >= 30
    publish_animals(scenes)
    folder = os.fsencode(tmp_path / "photos")
    Path(os.fsdecode(folder)).mkdir()
    data = photograph(tmp_path / "photo.png").read_bytes()
    names = [name if isinstance(name, bytes) else name.encode() for name in NAMES]
    paths = [folder + b"/" + name for name in names]
    for path in paths:
        Path(os.fsdecode(path)).write_bytes(data)
    environment = {name: value for name, value in os.environ.items() if name != "LANG"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, scenes.storage.uri, str(tmp_path / "out"), *paths],
        cwd=CHECKOUT,
        capture_output=True,
        env={**environment, **LOCALES[locale], "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    written = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    stems = (name if b"." not in name[1:] else name.rpartition(b".")[0] for name in names)
    assert written == {stem + b".png" for stem in stems}

    printed, _, described = done.stdout.partition(b"== json\n")
    lines = printed.decode().splitlines()
    assert len(lines) == len(names) + 1 + 7, "a line a photograph each, and the table's heading"
    assert not any(character in printed for character in (b"\x1b", b"\r", b"\a", b"\xdf"))
    found = json.loads(described.decode("ascii"))
    assert [os.fsencode(each["path"]) for each in found] == paths[:1] + paths[-6:]


def test_what_moves_a_cursor_or_is_no_text_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("Größe 🦊 \\ 'x'.png") == "Größe 🦊 \\ 'x'.png"
    assert printable("a\nb\x1b[2J\u202e") == r"a\nb\x1b[2J\u202e"
    assert printable(os.fsdecode(b"Stra\xdfe")) == r"Stra\xdfe"
    print_table(("photograph", "class"), [("two\nlines", "people"), ("x", "animals")])
    assert capsys.readouterr().out == (
        "photograph  class\ntwo\\nlines  people\nx           animals\n"
    )


def test_an_error_names_any_file(scenes: Dataset, tmp_path: Path) -> None:
    publish_animals(scenes)
    gone = os.fsencode(tmp_path) + b"/gone\xdf\n\x1b.png"
    command = ("colorize", "--storage", scenes.storage.uri, "--model", "animals", "-o", "out")
    done = subprocess.run(
        [sys.executable, "-m", "colorgan", *command, gone],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, **LOCALES["ASCII"], "PYTHONPATH": str(CHECKOUT)},
    )
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"error: {tmp_path}/gone\\xdf\\n\\x1b.png: No such file or directory\n"
    )
