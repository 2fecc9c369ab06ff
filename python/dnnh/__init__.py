"""DNNH on Caffe: deep neural network hashing, from images to measured codes.

Data flows one way, and each module knows only those before it:

    errors, paths                 what all of them share
    datasets, download            images and labels, as one HDF5 file a data set
    splits                        queries, training images, database
    triplets, databases           what `caffe train` reads
    towers, recipes, nets         prototxt files
    ranking, metrics              Hamming ranking, measured
    models, encoder, codes        from a trained net to a codes file
    gist, features, baselines     vectors, and the methods that hash them
    cnnh                          codes of labels, for nets to learn
    traininglog, plots, report    figures, tables, pages
    evaluation                    from codes to a result, written whole
    published, comparison         the papers' tables, with ours beside them
    knn, inverted, search         codes that are searched
    sources, parquet, collection  images of one's own, and their codes
    spark, milvus                 the same on many machines, and online
    finder, server                hits with their names; a page
"""
