"""DNNH on Caffe: from images to binary codes, evaluated and searched.

Each part imports only those before it:

    errors, paths       user errors; paths of the repository
    limits              limits of files and requests
    files, python_process, hdf5_files  files read within limits, some in another process
    atomic_files            files and folders written atomically
    packed_codes        the one format of binary codes
    pickles             third-party pickles
    prefetch            what threads read before it is needed
    pages               HTML pages

    data                data sets, splits, triplets, LMDBs, sources of a user's images
    nets                net configurations, prototxt, trained weights, encoding
    evaluation          codes files, Hamming ranking, metrics, results, reports
    baselines           shallow hashing methods and their features; target codes of CNNH
    retrieval           indexes of encoded images, search engines, results, a server

    cli                 options that the commands in tools/ share
    pipeline            tools and `caffe train`, one after the other
    console             the command `dnnh`, which runs them

docs/architecture.md has the drawing and two walks through the code.
"""
