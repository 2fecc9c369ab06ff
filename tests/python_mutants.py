"""The mutants of tests/python_mutation_tests.py: for each file of python/dnnh/, edits that break
it, and a test that must notice. Each original text must occur exactly once in its file."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PythonMutant:
    """One edit of a file."""

    source: str  # relative to python/dnnh/
    original: str
    replacement: str
    test: str  # relative to tests/python/, as pytest names it


# source: {name of the mutant: (original text, replacement, test)}
_EDITS = {
    "evaluation/metrics.py": {
        "metrics: AP divided by all items": (
            "np.mean(np.arange(1, len(ranks) + 1) / ranks)",
            "np.sum(np.arange(1, len(ranks) + 1) / ranks) / len(relevant)",
            "evaluation/test_metrics.py::test_average_precision_by_hand",
        ),
        "metrics: ranks from 0 on": (
            "np.flatnonzero(relevant) + 1",
            "np.flatnonzero(relevant)",
            "evaluation/test_metrics.py::test_average_precision_by_hand",
        ),
        "metrics: MAP cut forgotten": (
            "average_precision(ranked[:top])",
            "average_precision(ranked)",
            "evaluation/test_metrics.py::test_top_counts_the_relevant_within_it",
        ),
        "metrics: query stays in its own ranking": (
            "distances = np.delete(distances, query_rows[query])",
            "distances = np.delete(distances, query_rows[query] - 1)",
            "evaluation/test_metrics.py::test_a_query_in_the_database_is_left_out_of_its_own_ranking",
        ),
        "metrics: radius 1": (
            "radius = min(RADIUS, bits)",
            "radius = min(RADIUS - 1, bits)",
            "evaluation/test_metrics.py::test_evaluate_by_hand",
        ),
        "metrics: queries that retrieve nothing count as 1": (
            "precision = hits_within / np.maximum(within, 1)",
            "precision = np.where(within, hits_within / np.maximum(within, 1), 1)",
            "evaluation/test_metrics.py::test_nothing_relevant_and_nothing_retrieved_count_zero",
        ),
        "metrics: ties in the order of the database": (
            "np.random.default_rng(SHUFFLE_SEED).permutation(len(database_codes))",
            "np.arange(len(database_codes))",
            "evaluation/test_metrics.py::test_random_codes_against_plain_loops",
        ),
        "metrics: tie-aware AP without pairs": (
            "pairs = (r - 1) / np.maximum(n - 1, 1)",
            "pairs = r / np.maximum(n, 1)",
            "evaluation/test_metrics.py::test_tie_aware_is_the_mean_over_shuffles",
        ),
        "metrics: a weighted query stays in its own ranking": (
            "ranked_by = np.delete(ranked_by, query_rows[query])",
            "ranked_by = np.delete(ranked_by, query_rows[query] - 1)",
            "evaluation/test_metrics.py::test_a_weighted_query_is_excluded_from_its_own_ranking",
        ),
        "metrics: groups of ties shifted": (
            "starts = np.flatnonzero(np.diff(distances, prepend=-np.inf))",
            "starts = np.flatnonzero(np.diff(distances, prepend=distances[0]))",
            "evaluation/test_metrics.py::test_weighted_ranking_by_hand",
        ),
        "metrics: multi-hot relevance of all labels": (
            "query_labels[first : first + count].astype(np.float32) @ database > 0",
            "query_labels[first : first + count].astype(np.float32) @ database > 1",
            "evaluation/test_metrics.py::test_multi_hot_labels_share_at_least_one",
        ),
    },
    "evaluation/ranking.py": {
        "ranking: weights in the opposite order": (
            "of_bits.flat[: len(weights)] = weights",
            "of_bits.flat[: len(weights)] = weights[::-1]",
            "evaluation/test_ranking.py::test_weighted_distances_are_the_weights_of_the_bits_that_differ",
        ),
        "ranking: codes not compared": (
            "table[column ^ byte]",
            "table[column]",
            "evaluation/test_ranking.py::test_weighted_distances_are_the_weights_of_the_bits_that_differ",
        ),
        "ranking: single precision splits ties": (
            "total = np.zeros(len(database))",
            "total = np.zeros(len(database), np.float32)",
            "evaluation/test_metrics.py::test_equal_weights_rank_as_none",
        ),
        "ranking: unstable order": (
            'np.argsort(row, kind="stable")',
            "np.argsort(row)[::-1]",
            "evaluation/test_ranking.py::test_order_keeps_equal_distances_in_place",
        ),
        "ranking: last word forgotten": (
            "for w in range(query_words.shape[1]):",
            "for w in range(max(1, query_words.shape[1] - 1)):",
            "evaluation/test_ranking.py::test_distances_count_differing_bits",
        ),
    },
    "packed_codes.py": {
        "codes: other bit order": (
            'np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="little")',
            'np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="big")',
            "evaluation/test_codes.py::test_what_is_written_comes_back",
        ),
        "codes: unused bits unchecked": (
            "if unused and (array",
            "if False and (array",
            "evaluation/test_codes.py::test_what_does_not_fit_is_refused",
        ),
        "codes: last byte forgotten": (
            "return -(-bits // 8)",
            "return max(1, bits // 8)",
            "evaluation/test_codes.py::test_what_is_written_comes_back",
        ),
    },
    "data/splits.py": {
        "splits: other images in the same place": (
            "+ dataset.images_sha256.encode()",
            "",
            "data/test_datasets.py::test_images_in_another_order_have_another_split",
        ),
        "splits: queries stay in the database": (
            "database = np.setdiff1d(rows, queries)",
            "database = rows",
            "data/test_splits.py::test_paper_protocol",
        ),
        "splits: queries are trained on": (
            "free = np.flatnonzero(is_member & ~is_query & ~is_training)",
            "free = np.flatnonzero(is_member & ~is_training)",
            "data/test_splits.py::test_images_of_several_labels_are_drawn_for_one_where_there_are_enough",
        ),
        "splits: seed forgotten": (
            "rng = np.random.default_rng(seed)",
            "rng = np.random.default_rng(0)",
            "data/test_splits.py::test_the_seed_decides",
        ),
        "splits: 54k with training images": (
            'if protocol == "54k":',
            "if False:",
            "data/test_splits.py::test_54k_leaves_the_training_images_out_of_the_database",
        ),
        "splits: held-out images are trained on": (
            "validation_training=np.setdiff1d(training, validation_queries)",
            "validation_training=training",
            "data/test_splits.py::test_validation_is_a_fifth_of_the_training_images",
        ),
    },
    "data/triplets.py": {
        "triplets: query as its own positive": (
            "fits &= candidate != its_query",
            "pass",
            "data/test_triplets.py::test_the_positive_shares_the_label_and_the_negative_does_not",
        ),
        "triplets: positive and negative swapped": (
            "np.stack([query, positive, negative], axis=1)",
            "np.stack([query, negative, positive], axis=1)",
            "data/test_triplets.py::test_the_positive_shares_the_label_and_the_negative_does_not",
        ),
        "triplets: seed forgotten": (
            "rng = np.random.default_rng(seed)",
            "rng = np.random.default_rng(0)",
            "data/test_triplets.py::test_the_seed_decides",
        ),
    },
    "data/image_database.py": {
        "database: other order of planes": (
            "return image.transpose(2, 0, 1).tobytes(), False",
            "return image.tobytes(), False",
            "data/test_image_database.py::test_records_are_of_the_rows_that_are_asked_for",
        ),
        "database: rows ignored": (
            "_encode(images, rows[index], encoding)",
            "_encode(images, index, encoding)",
            "data/test_image_database.py::test_records_are_of_the_rows_that_are_asked_for",
        ),
        "database: another folder is replaced": (
            "if path.exists() and not _holds_only_a_database(path):",
            "if False:",
            "data/test_image_database.py::test_another_folder_is_left_alone",
        ),
    },
    "data/image_folders.py": {
        "folders: splits are classes": (
            "return int(bool(with_classes))",
            "return 0",
            "data/test_folder.py::test_folders_that_are_splits",
        ),
        "folders: shadows of macOS are images": (
            "or name.lower() in PASSED_OVER",
            "",
            "data/test_folder.py::test_what_other_programs_leave_is_passed_over",
        ),
    },
    "data/tables.py": {
        "tables: header is an image": (
            "if _names_columns(first_rows, path.parent):",
            "if False:",
            "data/test_folder.py::test_a_row_that_names_the_columns",
        ),
        "tables: list is a CSV file": (
            "read = _list_rows if _is_list",
            "read = _csv_rows if _is_list",
            "data/test_folder.py::test_a_list_as_caffe_has_it",
        ),
    },
    "data/sources.py": {
        "sources: an image of a database by its name has no stamp": (
            "            lambda kind: _record_stamp(_record(source, name), kind),\n",
            "",
            "data/test_sources.py::test_keys_that_are_no_text",
        ),
        "sources: convert_imageset is red first": (
            "image[:, :, ::-1] if is_blue_first",
            "image if is_blue_first",
            "data/test_sources.py::test_channels_of_convert_imageset_are_blue_first",
        ),
    },
    "data/pickled_arrays.py": {
        "pickles: dtypes of objects": (
            're.fullmatch("[iu][1248]", self._code)',
            "True",
            "data/test_cifar10.py::test_damaged_and_hostile",
        ),
    },
    "pickles.py": {
        "pickles: memo unchecked": (
            "(argument or 0) > count",
            "False",
            "data/test_cifar10.py::test_damaged_and_hostile",
        ),
    },
    "files.py": {
        "files: pipes are read": (
            "if not stat.S_ISREG",
            "if False and not stat.S_ISREG",
            "test_files.py::test_only_regular_files_are_read",
        ),
    },
    "hdf5_files.py": {
        "files: declared sizes believed": (
            "if declared > most:",
            "if False:",
            "test_files.py::test_data_sets_that_were_never_written",
        ),
        "files: links followed": (
            "if not isinstance(link, h5py.HardLink):",
            "if False:",
            "test_files.py::test_links_to_elsewhere",
        ),
        "files: data in other files": (
            "if dataset.is_virtual or creation",
            "if False and creation",
            "test_files.py::test_data_sets_in_other_files",
        ),
        "files: text is not read in another process": (
            "    if status:\n        raise",
            "    if False:\n        raise",
            "test_files.py::test_text_that_hdf5_trusts",
        ),
    },
    "atomic_files.py": {
        "atomic: written in place": (
            "partial = folder / path.name",
            "partial = path",
            "test_atomic_files.py::test_a_file_appears_whole",
        ),
        "atomic: half a file is kept": (
            "_remove_claimed(partial)\n\n\n@contextlib",
            "pass\n\n\n@contextlib",
            "test_atomic_files.py::test_a_failure_leaves_what_was_there",
        ),
        "atomic: folders in two steps": (
            "elif not _exchange(partial, path):",
            "else:",
            "test_atomic_files.py::test_a_folder_is_exchanged_at_once",
        ),
        "atomic: moves are not completed": (
            "                _complete(folder)  # older",
            "                pass  # older",
            "test_atomic_files.py::test_the_next_writer_completes_the_moves_first",
        ),
        "atomic: leftovers stay": (
            "                _remove_claimed(leftover)",
            "                pass",
            "test_atomic_files.py::test_leftovers_of_killed_processes_are_removed",
        ),
        "atomic: obsolete files stay": (
            "(folder / path.name).unlink(missing_ok=True)",
            "pass",
            "test_atomic_files.py::test_files_move_together_though_killed",
        ),
    },
    "retrieval/index_writer.py": {
        "index_writer: lengths from the old end": (
            "file.seek(0, os.SEEK_END)",
            "pass",
            "retrieval/test_index_writer.py::test_an_index_that_was_interrupted_twice",
        ),
        "index: the state is on the disk before the codes": (
            "os.fsync(file.fileno())",
            "pass",
            "retrieval/test_index_writer.py::test_what_the_state_counts_is_on_the_disk_first",
        ),
        "index: a finished update goes on": (
            'if {"update_of": None, **state.about} == of_index:',
            "if False:",
            "retrieval/test_index_update.py::test_what_a_finished_update_left_does_not_disturb",
        ),
        "index: an index replaced meanwhile is written over": (
            "if files.sha256(self.path) != ",
            "if False and files.sha256(self.path) != ",
            "retrieval/test_index_update.py::test_one_process_at_a_time",
        ),
        "index: images that changed keep their codes": (
            "            merged[rows] = codes\n",
            "            merged[len(old) :] = codes[rows >= len(old)]\n",
            "retrieval/test_index_update.py::test_new_changed_and_gone_images",
        ),
        "index: skipped images get codes": (
            "self.state.seen += len(group.items)",
            "self.state.seen += len(group.items) - 1",
            "retrieval/test_index_writer.py::test_an_index_that_was_resumed_is_the_same_to_the_byte",
        ),
        "index: half a group is kept": (
            "file.truncate(self.state.complete[name])",
            "pass",
            "retrieval/test_index_writer.py::test_an_index_that_was_resumed_is_the_same_to_the_byte",
        ),
        "index: another net resumes": (
            "if state.about != start.about:",
            "if False:",
            "retrieval/test_index_writer.py::test_what_cannot_be_resumed",
        ),
        "index: other images resume": (
            "if digest != self.state.digest:",
            "if False:",
            "retrieval/test_index_writer.py::test_what_cannot_be_resumed",
        ),
    },
    "retrieval/index_claim.py": {
        "index: two processes at once": (
            "fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "pass",
            "retrieval/test_index_writer.py::test_what_cannot_be_resumed",
        ),
    },
    "retrieval/index_files.py": {
        "index: names of other rows": (
            "dataset[increasing][places.ravel()]",
            "dataset[increasing]",
            "retrieval/test_retriever.py::test_the_weights_it_was_encoded_with_are_found",
        ),
    },
    "retrieval/server.py": {
        "server: every page is the first": (
            "for hit in hits[places]]",
            "for hit in hits[: places.stop - places.start]]",
            "retrieval/test_server.py::test_pages_of_hits",
        ),
        "server: waiting bytes forgotten": (
            "state.uploads_bytes -= count",
            "pass",
            "retrieval/test_server_load.py::test_uploads_that_are_given_up_are_forgotten",
        ),
        "server: all images decoded at once": (
            "await decoding.acquire()",
            "pass",
            "retrieval/test_server_load.py::test_few_images_are_decoded_at_once",
        ),
        "server: any host": (
            "if hosts is None or _host(request) in hosts:",
            "if True:",
            "retrieval/test_server.py::test_only_requests_for_this_machine_are_answered",
        ),
    },
    "retrieval/served_index.py": {
        "server: replaced index unnoticed": (
            "return self._opened is not None and version in (None, self._version)",
            "return self._opened is not None",
            "retrieval/test_server_load.py::test_a_replaced_index_is_served",
        ),
    },
    "prefetch.py": {
        "prefetch: more than asked for": (
            "itertools.islice(items, 1)",
            "itertools.islice(items, 2)",
            "test_prefetch.py::test_no_more_than_that_is_prefetched",
        ),
        "prefetch: not in order": (
            "waiting.popleft().result()",
            "waiting.pop().result()",
            "test_prefetch.py::test_results_are_in_the_order_of_the_items",
        ),
    },
    "nets/encoder.py": {
        "encoder: corner instead of centre": (
            "(images.shape[1] - height) // 2",
            "0",
            "nets/test_caffe_encoder.py::test_larger_images_give_their_middle",
        ),
    },
    "nets/model_files.py": {
        "model files: vectors in half precision": (
            "if len(shape) > 1:",
            "if len(shape) > 0:",
            "nets/test_model_files.py::test_half_precision_rounds_all_but_vectors",
        ),
        "model files: infinite weights": (
            "if np.abs(values).max(initial=0) > largest:",
            "if False:",
            "nets/test_model_files.py::test_models_that_are_not_halved",
        ),
        "model files: values of another type": (
            'if blob.dtype.kind != "f":',
            "if False:",
            "nets/test_model_files.py::test_a_damaged_hdf5_model",
        ),
        "model files: weights of another net": (
            "if shapes != expected:",
            "if False:",
            "nets/test_caffe_encoder.py::test_weights_of_another_length",
        ),
    },
    "nets/caffe_encoder.py": {
        "encoder: a threshold in place": (
            "threshold.bottom == threshold.top",
            "False",
            "nets/test_caffe_encoder.py::test_outputs_before_the_threshold",
        ),
        "encoder: threads mixed": (
            "        with self._running:\n            pycaffe.use",
            "        if True:\n            pycaffe.use",
            "nets/test_processes.py::test_threads_get_their_own_images",
        ),
    },
    "nets/averaging.py": {
        "averaging: sum": (
            "total / len(models)",
            "total",
            "nets/test_averaging.py::test_weights_are_means_and_counts_the_last",
        ),
        "averaging: statistics of the snapshot stay": (
            "                blob.data[...] = 0",
            "                pass",
            "nets/test_averaging.py::test_statistics_are_those_of_the_images",
        ),
        "averaging: counts averaged": (
            'COUNTING = ("PiecewiseThreshold", "SlopeSigmoid")',
            "COUNTING = ()",
            "nets/test_averaging.py::test_weights_are_means_and_counts_the_last",
        ),
        "averaging: the last batch's statistics": (
            "            net.forward()\n",
            "            for layer in net.layers:\n"
            "                if layer.type == 'BatchNorm':\n"
            "                    for of_layer in layer.blobs:\n"
            "                        of_layer.data[...] = 0\n"
            "            net.forward()\n",
            "nets/test_averaging.py::test_images_then_have_centred_bits",
        ),
    },
    "retrieval/retriever.py": {
        "retriever: removed images are there": (
            "return bool(place < len(self._present) and self._present[place] == row)",
            "return 0 <= row < len(self.index.codes)",
            "retrieval/test_server.py::test_no_request_reaches_an_image_that_was_removed",
        ),
        "retriever: learned bit weights unused": (
            "weights = self._encoder.bit_weights[np.newaxis]",
            "pass",
            "retrieval/test_retriever.py::test_hits_are_ordered_by_asymmetric_distance",
        ),
        "retriever: ids for rows": (
            "ids if self._present is None else np.where(ids < 0, -1, self._present[ids])",
            "ids",
            "retrieval/test_index_update.py::test_what_is_gone_is_not_found",
        ),
    },
    "retrieval/parquet_update.py": {
        "parquet update: earlier changes are lost": (
            "images.changed | (states[:old] != images.states)",
            "states[:old] != images.states",
            "retrieval/test_parquet_update.py::test_images_that_are_gone_or_removed",
        ),
        "parquet update: the file in use is deleted": (
            "if path.name not in (name, about.changes):",
            "if path.name != name:",
            "retrieval/test_parquet_update.py::test_images_that_are_gone_or_removed",
        ),
        "parquet update: rows of skipped images again": (
            "max(about.encoded + about.skipped, images.rows.max(initial=-1) + 1)",
            "images.rows.max(initial=-1) + 1",
            "retrieval/test_parquet_update.py::test_rows_of_new_images_are_behind_the_others",
        ),
    },
    "retrieval/parquet.py": {
        "parquet: an index replaced meanwhile": (
            "return images if read_about(folder) == about else read(folder)",
            "return images",
            "retrieval/test_parquet.py::test_an_index_that_is_replaced_while_it_is_read",
        ),
        "parquet: what changed counts twice": (
            'table.filter(~compute.field("row").isin(changed["row"].combine_chunks()))',
            "table",
            "retrieval/test_parquet_update.py::test_images_that_are_gone_or_removed",
        ),
        "parquet: changes from anywhere": (
            r're.fullmatch(r"changes-\d{1,9}\.parquet", about.changes)',
            "about.changes",
            "retrieval/test_parquet_update.py::test_changes_that_are_not_there",
        ),
    },
    "retrieval/index_update.py": {
        "update: labels of removed images count": (
            "if state != REMOVED:",
            "if True:",
            "retrieval/test_index_update.py::test_labels_of_an_image_that_was_removed",
        ),
        "update: an empty source empties the index": (
            "        if item is None:",
            "        if False:",
            "retrieval/test_index_update.py::test_a_source_that_is_not_there_changes_nothing",
        ),
        "update: labels do not count": (
            "is_same and labels[row] == hash(item.labels)",
            "is_same",
            "retrieval/test_index_update.py::test_labels_of_a_table_that_change",
        ),
        "update: what is gone stays": (
            "self.states[~seen & (self.states == PRESENT)] = GONE",
            "pass",
            "retrieval/test_index_update.py::test_what_is_gone_is_not_found",
        ),
        "update: removed images come back": (
            "elif state == GONE:",
            "else:",
            "retrieval/test_index_update.py::test_an_image_that_was_removed_stays_so_until_it_changes",
        ),
        "update: an unreadable file keeps its old code": (
            "                if state == PRESENT:\n                    self.states[row] = GONE",
            "                if state == PRESENT:\n                    pass",
            "retrieval/test_index_update.py::test_a_file_that_vanishes_or_breaks_meanwhile",
        ),
    },
    "retrieval/duplicates.py": {
        "duplicates: one part too few": (
            "np.array_split(np.arange(bits), radius + 1)",
            "np.array_split(np.arange(bits), radius)",
            "retrieval/test_duplicates.py::test_groups_are_those_of_all_pairs",
        ),
        "duplicates: neighbors in a part alone": (
            "            step += 1\n",
            "            step += len(codes)\n",
            "retrieval/test_duplicates.py::test_groups_are_those_of_all_pairs",
        ),
        "duplicates: pairs so far forgotten": (
            "[_first_of_label(labels)], 0",
            "[np.arange(len(codes))], 0",
            "retrieval/test_duplicates.py::test_groups_are_those_of_all_pairs",
        ),
    },
    "retrieval/image_groups.py": {
        "groups: stamps not kept": (
            "[stamped for _, stamped, _, _ in group]",
            '["" for _ in group]',
            "retrieval/test_index_update.py::test_new_changed_and_gone_images",
        ),
    },
    "retrieval/feature_hash.py": {
        "hash: any hash is as good as another": (
            "ours.keys() == theirs.keys() and all(",
            "ours.keys() == theirs.keys() or all(",
            "retrieval/test_feature_hash.py::test_many_queries_need_the_hash_of_the_index",
        ),
        "hash: fitted anew": (
            "if not self.is_fitted:",
            "if True:",
            "retrieval/test_feature_hash.py::test_many_queries_need_the_hash_of_the_index",
        ),
        "hash: images without labels are sampled, too": (
            "for row, of_image in enumerate(labels) if of_image}",
            "for row, of_image in enumerate(labels)}",
            "retrieval/test_feature_hash.py::test_a_supervised_method_is_fitted_to_labelled_images",
        ),
    },
    "evaluation/codes.py": {
        "codes: lightest bits kept": (
            "np.argsort(-codes.bit_weights",
            "np.argsort(codes.bit_weights",
            "evaluation/test_codes.py::test_the_heaviest_bits_are_kept_in_their_order",
        ),
        "codes: bits in the order of weights": (
            'np.sort(np.argsort(-codes.bit_weights, kind="stable")[:bits])',
            'np.argsort(-codes.bit_weights, kind="stable")[:bits]',
            "evaluation/test_codes.py::test_the_heaviest_bits_are_kept_in_their_order",
        ),
    },
    "nets/model_zoo.py": {
        "zoo: blue for red": (
            "blobs[0].data[:, ::-1].copy()",
            "blobs[0].data.copy()",
            "nets/test_model_zoo.py::test_names_of_resnets_normalizations",
        ),
        "zoo: the mean color in the file's order": (
            "-np.array(network.mean[::-1])",
            "-np.array(network.mean)",
            "nets/test_model_zoo.py::test_names_of_resnets_normalizations",
        ),
        "zoo: any file": (
            "if network.sha1 and (sha1 := files.sha1(path)) != network.sha1:",
            "if (sha1 := network.sha1) is None:",
            "nets/test_model_zoo.py::test_files_of_something_else",
        ),
    },
    "nets/onnx_encoder.py": {
        "onnx: rounded codes weigh the bits": (
            "CODES if rounded else UNROUNDED",
            "CODES",
            "nets/test_onnx_encoder.py::test_it_encodes_as_caffe_does",
        ),
        "onnx: weights in other files": (
            "if any(tensor.external_data",
            "if False and any(tensor.external_data",
            "nets/test_onnx_encoder.py::test_other_models_are_refused",
        ),
        "onnx: any operator": (
            "if others or",
            "if",
            "nets/test_onnx_encoder.py::test_other_models_are_refused",
        ),
        "onnx: values of any size": (
            "if math.prod(sizes) > limits.ONNX_VALUES:",
            "if False:",
            "nets/test_onnx_encoder.py::test_other_models_are_refused",
        ),
        "onnx: values that grow with the square of the batch": (
            "> BATCH * math.prod(sizes):",
            "> BATCH**2 * math.prod(sizes):",
            "nets/test_onnx_encoder.py::test_other_models_are_refused",
        ),
    },
    "nets/runtimes.py": {
        "runtimes: the schedule that was asked for": (
            "spec = model.net(spec)",
            "pass",
            "nets/test_weights.py::test_the_schedule_goes_with_the_weights",
        ),
        "runtimes: weights of another training": (
            "if is_of_net and same_size and texts == wanted and",
            "if is_of_net and same_size and",
            "nets/test_onnx_encoder.py::test_the_net_of_an_index",
        ),
        "runtimes: the database's sub-network for queries": (
            ' and found.tower in ("", side)',
            "",
            "nets/test_onnx_encoder.py::test_the_net_of_an_index",
        ),
    },
    "nets/onnx_export.py": {
        "onnx: windows past the image count whole": (
            "size + 2 * before) -",
            "10**9) -",
            "nets/test_onnx_export.py::test_pooling_at_the_edges",
        ),
        "onnx: slices of one length": (
            "np.array_split(blobs[0], bits)",
            "np.array_split(blobs[0][::-1], bits)[::-1]",
            "nets/test_onnx_export.py::test_layers",
        ),
        "onnx: epsilon of the start": (
            "np.float32(param.epsilon * _steps(param, blobs))",
            "np.float32(param.epsilon)",
            "nets/test_onnx_export.py::test_nets_of_this_project",
        ),
        "onnx: most significant bit first": (
            "2.0 ** (np.arange(bits) % 8)",
            "2.0 ** (7 - np.arange(bits) % 8)",
            "nets/test_onnx_export.py::test_layers",
        ),
    },
    "nets/fusion.py": {
        "fusion: negative scales moved before a maximum": (
            "if self.is_pooled and factor.min() < 0:",
            "if False:",
            "nets/test_fusion.py::test_negative_scales_behind_a_maximum_are_kept",
        ),
        "fusion: normalized after clipping": (
            'if self._layer.HasField("clip_param"):',
            "if False:",
            "nets/test_fusion.py::test_outputs_stay",
        ),
        "fusion: bias not scaled": (
            "self._bias = self._bias * factor + shift",
            "self._bias = self._bias + shift",
            "nets/test_fusion.py::test_outputs_stay",
        ),
        "fusion: batches not counted": (
            "scale = 1 / batches[0] if batches[0] else 0",
            "scale = 1",
            "nets/test_fusion.py::test_outputs_stay",
        ),
        "fusion: a leak of ReLU forgotten": (
            'case "ReLU" if layer.relu_param.negative_slope == 0:',
            'case "ReLU":',
            "nets/test_fusion.py::test_outputs_stay",
        ),
    },
    "evaluation/results.py": {
        "results: all schedules in one row": (
            "if schedule == config.short_schedule:",
            "if True:",
            "evaluation/test_comparison.py::test_each_schedule_has_a_row",
        ),
        "results: weights ignored": (
            "bit_weights=codes.bit_weights,",
            "bit_weights=None,",
            "evaluation/test_results.py::test_weights_of_bits_rank",
        ),
        "results: values unchecked": (
            "or not 0 <= value <= 1:",
            "or False:",
            "evaluation/test_results.py::test_values_that_are_no_shares",
        ),
    },
    "baselines/itq.py": {
        "itq: the rotation's inverse": (
            "rotation = left @ right",
            "rotation = (left @ right).T",
            "baselines/test_baselines.py::test_itq_turns_and_its_loss_never_rises",
        ),
    },
    "baselines/sh.py": {
        "sh: the least smooth functions": (
            "np.argsort(frequencies, axis=None",
            "np.argsort(-frequencies, axis=None",
            "baselines/test_baselines.py::test_sh_takes_the_smoothest_functions",
        ),
    },
    "baselines/ksh.py": {
        "ksh: each bit fitted to all similarities": (
            "residual.subtract(signs(k @ best))",
            "residual.subtract(0 * signs(k @ best))",
            "baselines/test_baselines.py::test_ksh_comes_closer_with_each_bit",
        ),
    },
    "baselines/sdh.py": {
        "sdh: hash functions without a bias": (
            "np.ones(len(x))",
            "np.zeros(len(x))",
            "baselines/test_baselines.py::test_sdh_never_goes_back",
        ),
    },
    "baselines/bre.py": {
        "bre: the worst weight": (
            "best = values.argmax()",
            "best = values.argmin()",
            "baselines/test_baselines.py::test_bre_takes_the_best_weight",
        ),
    },
    "baselines/bdnn.py": {
        "bdnn: the least of the directions": (
            "all_principal_directions(x)[:, :MAX_FEATURES]",
            "all_principal_directions(x)[:, -MAX_FEATURES:]",
            "baselines/test_baselines.py::test_bdnn_projects_many_features",
        ),
    },
    "data/archives.py": {
        "archives: what follows the last member is not read": (
            "while self._stream.read(1 << 20):",
            "while False:",
            "data/test_cifar10.py::test_flipped_bytes",
        ),
    },
    "data/cifar10.py": {
        "cifar10: blue first": (
            ".transpose(0, 2, 3, 1)",
            ".transpose(0, 2, 3, 1)[..., ::-1]",
            "data/test_cifar10.py::test_every_form",
        ),
    },
    "data/svhn.py": {
        "svhn: 0 stays 10": (
            "labels[rows] = digits % 10",
            "labels[rows] = digits",
            "data/test_svhn.py::test_whole",
        ),
    },
    "retrieval/engines/numpy_engine.py": {
        "numpy engine: the first k in place of the nearest": (
            "keys = np.partition(keys, k - 1, axis=1)[:, :k]",
            "keys = keys[:, :k]",
            "retrieval/engines/test_engines.py::test_exact_with_equal_distances_in_order",
        ),
    },
    "retrieval/engines/ivf.py": {
        "ivf: codes in lists alone are searched": (
            "if stored.recent:",
            "if False:",
            "retrieval/engines/test_ivf.py::test_codes_that_are_in_no_list_yet_are_found",
        ),
    },
    "nets/loss_layers.py": {
        "loss_layers: one margin for all lengths": (
            """"margin": loss.margin * bits / DEFAULT_BITS,
        "average_active\"""",
            """"margin": loss.margin,
        "average_active\"""",
            "nets/test_prototxt.py::test_the_committed_files_are_what_the_generator_makes",
        ),
        "loss_layers: one sub-network for all three images": (
            "(POSITIVE, database_tower)",
            "(POSITIVE, query_tower)",
            "nets/test_prototxt.py::test_triplets_among_the_images_of_a_batch",
        ),
    },
    "nets/weights.py": {
        "weights: the released model before a snapshot": (
            """*_described(spec, own, "snapshot"),
        *_released(spec),""",
            """*_released(spec),
        *_described(spec, own, "snapshot"),""",
            "nets/test_weights.py::test_snapshots_come_before_the_released_model",
        ),
    },
    "evaluation/comparison_table.py": {
        "comparison_table: paper less ours": (
            "bits: ours[bits] - compared[bits]",
            "bits: compared[bits] - ours[bits]",
            "evaluation/test_comparison.py::test_differences_are_ours_less_the_papers",
        ),
    },
}

# By name.
PYTHON_MUTANTS = {
    name: PythonMutant(source, *edit)
    for source, edits in _EDITS.items()
    for name, edit in edits.items()
}
