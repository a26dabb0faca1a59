"""One shrunken demo, run through the command line, once (per worker) for all end-to-end tests."""

import pytest
from small_demo import SMALL, Place, make_place


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Place:
    place = make_place(tmp_path_factory.mktemp("demo"))
    done = place.type("hfllm", "run", "configs/demo.yaml", *SMALL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return place
