"""Finds terms in tracked text files for which the field has another word; part of `make lint`."""

import pathlib
import re
import subprocess
import sys

# What not to write, and the field's word for it; docs/glossary.md has the meanings.
TERMS = {
    r"images? that asks?|\basks? with": "query",
    r"\bto code\b|\bcoders?\b|\bcoded\b|(?<!hash.)(?<!stereo.)\bcoding\b": "encode, encoder, encoding",
    r"\bdissimilar_|\bdissimilar image|\"dissimilar\"": "negative",
    r"changed images|changes of images": "data augmentation",
    r"slanted|distorted images": "random affine",
    r"recolou?red|changed colou?rs": "color jitter",
    r"squares painted|painted (over|squares)": "Cutout",
    r"are mirrored at random|mirrored images": "horizontal flip",
    r"distort_until|\bsettling\b": "augmentation off for the last iterations",
    r"statistics taken anew": "recomputed batch-norm statistics",
    r"(learnt|learned|known) by heart": "memorized, overfitted",
    r"falls in a straight line": "linear learning-rate decay",
    r"epsilon falls": "epsilon decays",
    r"lowered bits?": "bit bias",
    r"before they are rounded": "relaxed codes",
    r"class's own code": "class prototype",
    r"finds? nothing within": "retrieves nothing within Hamming radius 2",
    r"multiplications an image": "MACs per image",
    r"broken layers?": "mutants",
    r"tower's layout": "architecture",
    r"layer's halves": "CPU and CUDA implementations",
    r"methods? that hash(es)? vectors": "shallow (feature-based) hashing methods",
    r"page of hits": "results page",
    r"from codes to answers": "indexing and search",
    r"known to be whole|written whole": "committed, complete; written atomically",
    r"(are|is) left out": "skipped (with a reason)",
    r"\bis_ours\b|\bWhyNot\b": "uses_onednn, UnsupportedReason",
    r"(fresh|dense) triplets": "online, materialized",
    r"seconds a step": "seconds per training step",
    r"(runs|in) taken in turns|run in turns": "interleaved runs",
    r"what seeds differ by": "within seed variance",
}
TEXT = {".md", ".py", ".cpp", ".hpp", ".cu", ".cmake", ".txt", ".sh", ".html", ".js", ".css"}
TEXT |= {"", ".proto", ".c", ".h", ".svg", ".yml", ".cff", ".toml", ".ipynb", ".prototxt"}


def main() -> int:
    root = pathlib.Path(__file__).resolve().parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    # A term may go on in the next line, behind the mark of a comment.
    patterns = {
        re.compile(term.replace(" ", r"[\s/#*]+"), re.IGNORECASE): instead
        for term, instead in TERMS.items()
    }
    found = 0
    for path in (root / name for name in listed.stdout.rstrip("\0").split("\0")):
        if path.suffix not in TEXT or path == pathlib.Path(__file__).resolve() or not path.exists():
            continue
        text = path.read_text()
        for pattern, instead in patterns.items():
            for match in pattern.finditer(text):
                line = 1 + text.count("\n", 0, match.start())
                term = " ".join(match[0].split())
                print(
                    f"{path.relative_to(root)}:{line}: “{term}”; write {instead}", file=sys.stderr
                )
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
