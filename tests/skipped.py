"""The closing lines of `make test`: how many tests ran, and what was skipped and why.

  python tests/skipped.py CPU build/ctest.xml build/pytest.xml

CPU or CUDA is what the build is for. The files are JUnit's, as ctest and pytest write them.
"""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree


def reason(test: ElementTree.Element, skipped: ElementTree.Element) -> str:
    """Why a test was skipped: what GoogleTest or a script printed, which ctest has."""
    printed = test.findtext("system-out") or ""
    by_googletest = re.search(r"Skipped\n(.+)", printed)
    if by_googletest:
        return by_googletest[1]
    return printed.strip().partition("\n")[0] or skipped.get("message") or "it says nothing"


def main(device: str, *files: str) -> None:
    passed, reasons = 0, collections.Counter[str]()
    for file in files:
        for test in ElementTree.parse(pathlib.Path(file)).iter("testcase"):
            skipped = test.find("skipped")
            if skipped is None:
                passed += 1
            else:
                reasons[reason(test, skipped)] += 1
    for text, count in reasons.most_common():
        print(f"skipped: {count} {'test' if count == 1 else 'tests'}: {text}")
    if device == "CPU":
        print("skipped: tests on a GPU: they are part of a CUDA build (make test CUDA=1)")
    print(f"{passed} passed, 0 failed, {reasons.total()} skipped")


if __name__ == "__main__":
    main(*sys.argv[1:])
