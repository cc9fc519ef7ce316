"""What is in the repository is what a user gets: the link, the list of packages, the wheel."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = set(PROJECT["tool"]["setuptools"]["packages"])

TOP_LEVEL = {
    "pyproject.toml", "README.md", "tinygrad_ft", "kernels", "tests", "notebooks", "benchmarks", "Makefile", "LICENSE",
    "CHANGELOG.md",
}  # fmt: skip


def packages_on_disk(root):
    """Dotted names of all folders of the package that hold an `__init__.py`, the linked kernels included."""
    walk = os.walk(root / "tinygrad_ft", followlinks=True)
    return {".".join(Path(folder).relative_to(root).parts) for folder, _, files in walk if "__init__.py" in files}


def packages_in_wheel(names):
    return {".".join(Path(name).parent.parts) for name in names if name.endswith("/__init__.py")}


def misplaced(tracked):
    """What the top level of the repository holds and should not, or should and does not; dotfiles are free."""
    found = {Path(name).parts[0] for name in tracked}
    return {name for name in found ^ TOP_LEVEL if not name.startswith(".")}


def test_the_link_in_the_package_leads_to_the_kernels():
    assert (ROOT / "tinygrad_ft" / "kernels").resolve() == ROOT / "kernels"
    assert os.readlink(ROOT / "tinygrad_ft" / "kernels") == os.path.join("..", "kernels")


def test_the_list_of_packages_is_the_folders_that_hold_an_init():
    assert packages_on_disk(ROOT) == PACKAGES


def test_a_folder_that_is_not_in_the_list_of_packages_is_seen(tmp_path):
    (tmp_path / "kernels" / "cpu").mkdir(parents=True)
    (tmp_path / "kernels" / "cpu" / "__init__.py").touch()
    (tmp_path / "tinygrad_ft").mkdir()
    (tmp_path / "tinygrad_ft" / "kernels").symlink_to("../kernels")
    (tmp_path / "tinygrad_ft" / "__init__.py").touch()
    assert packages_on_disk(tmp_path) == {"tinygrad_ft", "tinygrad_ft.kernels.cpu"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from an sdist of a copy, so that neither the checkout's build/ nor its link can help it."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("tinygrad_ft", "kernels"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_a_built_wheel_holds_the_kernels(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert packages_in_wheel(names) == PACKAGES
    assert "tinygrad_ft/py.typed" in names


def test_a_wheel_without_the_kernels_is_seen():
    names = ["tinygrad_ft/__init__.py", "tinygrad_ft/kernels/cpu/softmax.py"]
    assert packages_in_wheel(names) == {"tinygrad_ft"}


def test_an_installed_wheel_imports_the_kernels_from_where_it_is_installed(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(site)  # which is what pip does with a pure wheel, and a venv may have no pip
    program = "import tinygrad_ft, tinygrad_ft.kernels.cpu as cpu; print(tinygrad_ft.__file__, cpu.__file__, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    package = site / "tinygrad_ft"
    assert [Path(line) for line in done.stdout.splitlines()] == [
        package / "__init__.py",
        package / "kernels" / "cpu" / "__init__.py",
    ]


def test_the_folder_of_kernels_refuses_its_bare_name(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    with pytest.raises(ImportError, match=r"tinygrad_ft\.kernels; import it by that name"):
        __import__("kernels")


def test_the_version_is_the_same_in_the_package_and_in_pyproject():
    import tinygrad_ft

    assert tinygrad_ft.__version__ == PROJECT["project"]["version"]


def test_the_top_level_holds_what_it_should_and_nothing_else():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is not a git checkout")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert misplaced(done.stdout.splitlines()) == set()


def test_a_stray_file_and_a_missing_one_are_seen():
    tracked = [f"{name}/x" for name in TOP_LEVEL - {"LICENSE"}] + [".gitignore", "notes.txt"]
    assert misplaced(tracked) == {"LICENSE", "notes.txt"}
