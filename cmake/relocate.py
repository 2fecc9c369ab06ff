"""Replace the path of a tree in the scripts of its Python environment, after it was moved.

python3 cmake/relocate.py OLD NEW FOLDER
"""

import pathlib
import re
import sys


def main(old: str, new: str, folder: str) -> None:
    path = re.compile(re.escape(old).encode() + rb"(?=[/'\"\s:]|$)")
    for file in pathlib.Path(folder).iterdir():
        if file.is_symlink() or not file.is_file():
            continue
        content = file.read_bytes()
        if b"\0" not in content:
            replaced = path.sub(lambda match: new.encode(), content)
            partial = file.with_name(f".{file.name}.partial")
            partial.write_bytes(replaced)
            partial.chmod(file.stat().st_mode)
            partial.replace(file)


main(*sys.argv[1:])
