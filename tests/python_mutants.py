"""The mutants of tests/python_mutation_tests.py: for each file of python/dnnh/, edits that break
it, and the tests that must notice. Each original text must occur exactly once in its file."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PythonMutant:
    """One edit of a file."""

    source: str  # relative to python/dnnh/
    original: str
    replacement: str
    tests: tuple[str, ...]  # relative to tests/python/


# (source, tests): {name of the mutant: (original text, replacement)}
_EDITS: dict[tuple[str, tuple[str, ...]], dict[str, tuple[str, str]]] = {
    ("evaluation/metrics.py", ("evaluation/test_metrics.py",)): {
        "metrics: AP divided by all items": (
            "np.mean(np.arange(1, len(ranks) + 1) / ranks)",
            "np.sum(np.arange(1, len(ranks) + 1) / ranks) / len(relevant)",
        ),
        "metrics: ranks from 0 on": ("np.flatnonzero(relevant) + 1", "np.flatnonzero(relevant)"),
        "metrics: MAP cut forgotten": ("average_precision(ranked[:top])", "average_precision(ranked)"),
        "metrics: query stays in its own ranking": (
            "distances = np.delete(distances, query_rows[query])",
            "distances = np.delete(distances, query_rows[query] - 1)",
        ),
        "metrics: radius 1": ("radius = min(RADIUS, bits)", "radius = min(RADIUS - 1, bits)"),
        "metrics: queries that retrieve nothing count as 1": (
            "precision = hits_within / np.maximum(within, 1)",
            "precision = np.where(within, hits_within / np.maximum(within, 1), 1)",
        ),
        "metrics: ties in the order of the database": (
            "np.random.default_rng(SHUFFLE_SEED).permutation(len(database_codes))",
            "np.arange(len(database_codes))",
        ),
        "metrics: tie-aware AP without pairs": (
            "pairs = (r - 1) / np.maximum(n - 1, 1)",
            "pairs = r / np.maximum(n, 1)",
        ),
        "metrics: multi-hot relevance of all labels": (
            "query_labels[first : first + count].astype(np.float32) @ database > 0",
            "query_labels[first : first + count].astype(np.float32) @ database > 1",
        ),
    },
    ("evaluation/ranking.py", ("evaluation/test_ranking.py", "evaluation/test_metrics.py")): {
        "ranking: unstable order": ('np.argsort(row, kind="stable")', "np.argsort(row)[::-1]"),
        "ranking: last word forgotten": (
            "for w in range(query_words.shape[1]):",
            "for w in range(max(1, query_words.shape[1] - 1)):",
        ),
    },
    ("packed_codes.py", ("evaluation/test_codes.py", "evaluation/test_ranking.py", "nets/test_encoder.py")): {
        "codes: other bit order": (
            'np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="little")',
            'np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="big")',
        ),
        "codes: unused bits unchecked": ("if unused and (array", "if False and (array"),
        "codes: last byte forgotten": ("return -(-bits // 8)", "return max(1, bits // 8)"),
    },
    ("data/splits.py", ("data/test_splits.py",)): {
        "splits: queries stay in the database": (
            "database = np.setdiff1d(rows, queries)",
            "database = rows",
        ),
        "splits: queries are trained on": (
            "free = np.flatnonzero(is_member & ~is_query & ~is_training)",
            "free = np.flatnonzero(is_member & ~is_training)",
        ),
        "splits: seed forgotten": ("rng = np.random.default_rng(seed)", "rng = np.random.default_rng(0)"),
        "splits: 54k with training images": ('if protocol == "54k":', "if False:"),
        "splits: held-out images are trained on": (
            "validation_training=np.setdiff1d(training, validation_queries)",
            "validation_training=training",
        ),
    },
    ("data/triplets.py", ("data/test_triplets.py",)): {
        "triplets: query as its own positive": ("fits &= candidate != its_query", "pass"),
        "triplets: positive and negative swapped": (
            "np.stack([query, positive, negative], axis=1)",
            "np.stack([query, negative, positive], axis=1)",
        ),
        "triplets: seed forgotten": (
            "rng = np.random.default_rng(seed)",
            "rng = np.random.default_rng(0)",
        ),
    },
    ("data/image_database.py", ("data/test_image_database.py",)): {
        "database: other order of planes": (
            "return image.transpose(2, 0, 1).tobytes(), False",
            "return image.tobytes(), False",
        ),
        "database: rows ignored": (
            "_encode(images, rows[index], encoding)",
            "_encode(images, index, encoding)",
        ),
        "database: another folder is replaced": (
            "if path.exists() and not _holds_only_a_database(path):",
            "if False:",
        ),
    },
    ("data/image_folders.py", ("data/test_folder.py", "data/test_sources.py")): {
        "folders: splits are classes": (
            "return int(bool(with_classes))",
            "return 0",
        ),
        "folders: shadows of macOS are images": ("or name.lower() in PASSED_OVER", ""),
    },
    ("data/tables.py", ("data/test_folder.py", "data/test_sources.py")): {
        "tables: header is an image": ("if _names_columns(first_rows, path.parent):", "if False:"),
        "tables: list is a CSV file": ("read = _list_rows if _is_list", "read = _csv_rows if _is_list"),
    },
    ("data/sources.py", ("data/test_sources.py",)): {
        "sources: convert_imageset is red first": ("image[:, :, ::-1] if is_blue_first", "image if is_blue_first"),
    },
    ("data/pickled_arrays.py", ("data/test_cifar10.py",)): {
        "pickles: dtypes of objects": ('re.fullmatch("[iu][1248]", self._code)', "True"),
        "pickles: memo unchecked": ("(argument or 0) > count", "False"),
    },
    ("files.py", ("test_files.py",)): {
        "files: pipes are read": ("if not stat.S_ISREG", "if False and not stat.S_ISREG"),
    },
    ("hdf5_files.py", ("test_files.py",)): {
        "files: declared sizes believed": ("if declared > most:", "if False:"),
        "files: links followed": (
            "if not isinstance(link, h5py.HardLink):",
            "if False:",
        ),
        "files: data in other files": ("if dataset.is_virtual or creation", "if False and creation"),
        "files: text is not read in another process": ("    if status:\n        raise", "    if False:\n        raise"),
    },
    ("atomic_files.py", ("test_atomic_files.py",)): {
        "atomic: written in place": (
            'partial = path.with_name(f".{path.name}.{os.getpid()}.dnnh-partial")',
            "partial = path",
        ),
        "atomic: half a file is kept": ("        finally:\n            remove(partial)", "        finally:\n            pass"),
        "atomic: folders in two steps": ("elif not _exchange(partial, path):", "else:"),
        "atomic: moves are not completed": (
            "        complete(folder)\n        for leftover",
            "        for leftover",
        ),
        "atomic: leftovers stay": ("            _remove_leftover(leftover, path)", "            pass"),
        "atomic: obsolete files stay": ("(folder / path.name).unlink(missing_ok=True)", "pass"),
    },
    ("retrieval/index_writer.py", ("retrieval/test_index_writer.py",)): {
        "index: skipped images get codes": (
            "self.state.seen += len(group)",
            "self.state.seen += len(group) - 1",
        ),
        "index: half a group is kept": ("file.truncate(self.state.complete_bytes(name))", "pass"),
        "index: another net resumes": ("if state.about != start.about:", "if False:"),
        "index: other images resume": (
            "if digest != self.state.digest:",
            "if False:",
        ),
        "index: two processes at once": ("fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),
    },
    ("retrieval/index_files.py", ("retrieval/test_index_files.py", "retrieval/test_retriever.py")): {
        "index: names of other rows": ("dataset[increasing][places.ravel()]", "dataset[increasing]"),
    },
    ("retrieval/server.py", ("retrieval/test_server.py", "retrieval/test_server_load.py")): {
        "server: waiting bytes forgotten": ("state.uploads_bytes -= len(data)", "pass"),
        "server: all images decoded at once": ("await decoding.acquire()", "pass"),
        "server: any host": ("if hosts is None or _host(request) in hosts:", "if True:"),
    },
    ("retrieval/served_index.py", ("retrieval/test_server_load.py",)): {
        "server: replaced index unnoticed": (
            "return self._opened is not None and version in (None, self._version)",
            "return self._opened is not None",
        ),
    },
    ("nets/encoder.py", ("nets/test_encoder.py", "nets/test_processes.py")): {
        "encoder: corner instead of centre": ("(images.shape[1] - height) // 2", "0"),
        "encoder: threads mixed": ("        with self._running:\n            return", "        if True:\n            return"),
        "encoder: weights of another net": ("if shapes != expected:", "if False:"),
    },
    ("evaluation/results.py", ("evaluation/test_results.py",)): {
        "results: values unchecked": ("or not 0 <= value <= 1:", "or False:"),
    },
}  # fmt: skip

PYTHON_MUTANTS = {
    name: PythonMutant(source, original, replacement, tests)
    for (source, tests), edits in _EDITS.items()
    for name, (original, replacement) in edits.items()
}
