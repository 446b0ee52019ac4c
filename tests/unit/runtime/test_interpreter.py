"""The interpreter's settings while a runner runs."""

import gc
import sys

import pytest

from sink_runner.runtime.interpreter import tuned


def test_interpreter_switches_threads_within_a_millisecond():
    with tuned():
        assert sys.getswitchinterval() < 0.001


def test_garbage_collection_is_rare():
    with tuned():
        assert gc.get_threshold()[0] > 50_000


def test_settings_are_restored_after_error():
    before = (sys.getswitchinterval(), gc.get_threshold())
    with pytest.raises(ValueError, match="now"), tuned():
        raise ValueError("now")
    assert (sys.getswitchinterval(), gc.get_threshold()) == before
