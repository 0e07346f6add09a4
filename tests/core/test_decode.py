"""Values into types of ours, from several threads at once."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from hnmine.core.decode import convert, decode, decoder

# Classes that are used for the first time, by three threads together. With msgspec alone the process ends by a segmentation fault in some
# tenths of a second.
THREADS = """
import sys, threading, types
from typing import Optional
import msgspec
from hnmine.core.decode import convert, decode

sys.setswitchinterval(1e-6)
sys.modules["made"] = made = types.ModuleType("made")
made.Optional = Optional
for turn in range(500):
    made.Inner = type("Inner", (msgspec.Struct,), {"__module__": "made", "__annotations__": {"a": "int", "b": "Optional[str]"}, "b": None})
    fields = {f"f{number}": "Optional[Inner]" for number in range(20)}
    made.Outer = type("Outer", (msgspec.Struct,), {"__module__": "made", "__annotations__": fields} | dict.fromkeys(fields))
    start, found = threading.Barrier(3), []

    def work(read, given):
        start.wait()
        found.append(read(given, made.Outer).f3.a)

    each = [(convert, {"f3": {"a": 1}}), (decode, b'{"f3": {"a": 1}}'), (convert, {"f3": {"a": 1}})]
    threads = [threading.Thread(target=work, args=arguments) for arguments in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]
print("done")
"""


def test_several_threads_use_a_type_for_the_first_time_together() -> None:
    found = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout) == (0, "done\n"), found.stderr[-2000:]


class Pair(msgspec.Struct, forbid_unknown_fields=True):
    query: str
    grade: int | None = None


def test_values_and_their_faults() -> None:
    assert decode('{"query": "a"}', Pair) == decoder(Pair)(b'{"query": "a"}') == convert({"query": "a"}, Pair) == Pair("a")
    assert decode("[1, 2]", list[int]) == convert((1, 2), list[int]) == [1, 2]
    with pytest.raises(msgspec.ValidationError, match=r"Expected `str`, got `int` - at `\$.query`"):
        decode('{"query": 1}', Pair)
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int \| null`, got `str`"):
        convert({"query": "a", "grade": "b"}, Pair)
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        decode('{"query"', Pair)
