"""Fingerprints change with what code does, and with nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repflow.fingerprints import Files, closure, code_digest, differences, fingerprint

SOURCE = Path(__file__).parents[2] / "src"

MODULE = '''"""Says what it is for."""

import os

LIMIT = 3
"""Of what."""


class Counter:
    """Counts."""

    limit: int = LIMIT

    def up(self, number: int, *, by: int = 1) -> str:
        """One more."""
        # because
        return f"{number + by:>{LIMIT}}" "!" + str("")
'''

REWRITTEN = '''import os
LIMIT = 3  # a comment
class Counter:
    limit: int = LIMIT
    def up(self, number: int, *,
           by: int = (1)) -> str:
        """Another docstring,

        which is longer."""
        return (f'{number + by:>{LIMIT}}!'
                + str(''))
'''


def test_comments_docstrings_and_layout_do_not_count() -> None:
    assert code_digest(MODULE.encode()) == code_digest(REWRITTEN.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", 'LIMIT = "3"'),
        ("number + by", "by + number"),
        ("number + by", "number - by"),
        ("by: int = 1", "by: int = 2"),
        ("*, by", "by"),
        ("limit: int", "limit: float"),
        ("import os", "import os as system"),
        ('"!"', '"?"'),
        ('"!"', '""'),
        ('str("")', "str()"),
        ("class Counter:", "class Counter(dict):"),
        ("    def up", "    @staticmethod\n    def up"),
    ],
)
def test_what_code_does_counts(old: str, new: str) -> None:
    assert old in MODULE
    assert code_digest(MODULE.encode()) != code_digest(MODULE.replace(old, new).encode())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two packages; `house.room` is run by `house.door`."""
    files = {
        "house/__init__.py": '"""A docstring alone."""\n__version__ = "1"\n',
        "house/door.py": "from typing import TYPE_CHECKING\nimport json\nfrom house import room\n"
        "if TYPE_CHECKING:\n    from house import unused\nelse:\n    from house import chosen\n"
        "def later():\n    from house.attic.box import open_box\n    return open_box\n",
        "house/room.py": "from .attic import shelf\n",
        "house/unused.py": "",
        "house/chosen.py": "",
        "house/alone.py": "x = 1\n",
        "house/attic/__init__.py": "from house.attic import dust\n",
        "house/attic/box.py": "def open_box():\n    return 1\n",
        "house/attic/shelf.py": "try:\n    import house.nothing\nexcept ImportError:\n    from .deep import well\n",
        "house/attic/deep/__init__.py": '"""Nothing."""\n',
        "house/attic/deep/well.py": "",
        "house/attic/dust.py": "",
        "house/attic/templates/page.html": "<p>",
        "house/attic/deep/table.csv": "1,2\n",
        "house/attic/other/__init__.py": "",
        "house/attic/other/notes.txt": "not run\n",
        "house/attic/__pycache__/dust.pyc": "bytecode",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_all_that_an_import_runs_is_found_and_no_more(tree: Path) -> None:
    found = closure({"house.door"}, Files(tree))
    assert set(found) == {
        "house.attic",
        "house.attic.box",
        "house.attic.deep.well",
        "house.attic.dust",
        "house.attic.shelf",
        "house.chosen",
        "house.door",
        "house.room",
    }
    assert found["house.attic"] == "house/attic/__init__.py"


def test_data_files_of_packages_that_are_run_count(tree: Path) -> None:
    before = fingerprint({"house.door"}, Files(tree))
    assert [name for name in before if "/" in name] == ["house/attic/deep/table.csv", "house/attic/templates/page.html"]
    (tree / "house/attic/templates/page.html").write_text("<b>")
    (tree / "house/attic/other/notes.txt").write_text("other\n")
    (tree / "house/alone.py").write_text("x = 2\n")
    assert differences(before, fingerprint({"house.door"}, Files(tree))) == ["house/attic/templates/page.html"]


def test_new_and_removed_modules_are_differences(tree: Path) -> None:
    before = fingerprint({"house.door"}, Files(tree))
    (tree / "house/attic/dust.py").unlink()
    (tree / "house/room.py").write_text("import house.alone\nfrom .attic import shelf\n")
    after = fingerprint({"house.door"}, Files(tree))
    assert differences(before, after) == ["house.alone", "house.attic.dust", "house.room"]


def test_files_are_read_once_and_a_change_is_seen(tree: Path) -> None:
    files = Files(tree)
    before = fingerprint({"house.door"}, files)
    assert files.unchanged()
    (tree / "house/room.py").write_text("x = 2\n")
    assert not files.unchanged()
    assert fingerprint({"house.door"}, files) == before
    (tree / "house/room.py").write_text("from .attic import shelf\n")
    assert files.unchanged()
    (tree / "house/nothing.py").write_text("")
    assert not files.unchanged()


def test_the_modules_found_are_those_that_python_imports() -> None:
    program = "import sys, repflow.stages.split; print(*(vars(each).get('__file__') for each in sys.modules.values()))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = {path for path in map(Path, printed.split()) if path.is_relative_to(SOURCE)}
    assert SOURCE / "repflow/data/duplicates.py" in loaded
    found = {SOURCE / path for path in closure({"repflow.stages.split"}, Files(SOURCE)).values()}
    assert {path for path in loaded - found if path.name != "__init__.py"} == set()
    assert found <= loaded


OTHER_PYTHONS = [python for version in ("3.11", "3.12", "3.13", "3.14") if (python := shutil.which(f"python{version}"))]
EVERYTHING = """
import json, sys
from pathlib import Path
from repflow.fingerprints import Files, fingerprint
source = Path(sys.argv[1])
names = [".".join(path.relative_to(source).with_suffix("").parts) for path in sorted(source.rglob("*.py"))]
json.dump(fingerprint(names, Files(source)), sys.stdout)
"""


@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_every_version_of_python_computes_the_same(python: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    here, there = (
        subprocess.run([each, "-c", EVERYTHING, str(SOURCE)], capture_output=True, text=True, env=environment)
        for each in (sys.executable, python)
    )
    if there.returncode == 127:
        pytest.skip(f"{python} stands on the PATH and does not start: {there.stderr}")
    assert there.returncode == 0, there.stderr
    assert len(json.loads(here.stdout)) > 100
    assert json.loads(there.stdout) == json.loads(here.stdout)


def test_line_endings_that_git_may_write_change_nothing(tmp_path: Path) -> None:
    for name, ending in (("lf", b"\n"), ("crlf", b"\r\n")):
        package = tmp_path / name / "one"
        package.mkdir(parents=True)
        (package / "__init__.py").write_bytes(b'TEXT = """a\nb"""\nprint(TEXT)\n'.replace(b"\n", ending))
        (package / "page.html").write_bytes(b"<p>\n</p>\n".replace(b"\n", ending))
        (package / "table.bin").write_bytes(b"\0\r\n")
    lf, crlf = (fingerprint(["one"], Files(tmp_path / name)) for name in ("lf", "crlf"))
    assert len(lf) == 3
    assert lf == crlf
